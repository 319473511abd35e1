// The position: where the machine went in the last two minutes, to scale, north up. There are no map tiles, for machine
// shops are offline.

const SVG = "http://www.w3.org/2000/svg"
const EARTH = 111_320   // metres a degree
const LEAST = 30        // metres across at least: a machine that stands still wanders by some
const FADES = [0.25, 0.45, 0.7, 1]  // opacity of the track, the oldest quarter first
const FIXES = {0: "no fix", 1: "no fix", 2: "2D fix", 3: "3D fix"}
const POINTS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"]

const svg = (tag, attributes = {}) => {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}

class Track {
  constructor(numbers, readings) {
    this.reading = Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, readings[number]]))
    this.lat = new Curve(null, null)
    this.lon = new Curve(null, null)
    this.visible = true
    this.el = el("section", "card track")
    const head = el("header")
    head.append(el("h2", null, "Position"), this.fix = el("small", "fix"))
    this.area = el("div", "map")
    this.facts = el("dl")
    this.cell = {}
    for (const [name, label] of [["lat", "Latitude"], ["lon", "Longitude"], ["speed", "Speed"], ["heading", "Heading"], ["alt", "Altitude"]]) {
      if (!this.reading[name]) continue
      const fact = el("div")
      fact.append(el("dt", null, label), this.cell[name] = el("dd"))
      this.facts.append(fact)
    }
    this.el.append(head, this.area, this.facts)
  }
  curveOf(name) { return name === "lat" ? this.lat : name === "lon" ? this.lon : null }
  trim(oldest) { this.lat.trim(oldest); this.lon.trim(oldest) }
  legend() {
    const write = {lat: (v) => `${v.toFixed(6)}°`, lon: (v) => `${v.toFixed(6)}°`, speed: (v) => `${v.toFixed(1)} km/h`,
      heading: (v) => `${v.toFixed(0)}° ${POINTS[Math.round(v / 45) % 8]}`, alt: (v) => `${v.toFixed(0)} m`}
    for (const [name, cell] of Object.entries(this.cell)) {
      const {v} = this.reading[name]
      say(cell, Number.isFinite(v) ? write[name](v).replace("-", "−") : "no value")
    }
    const fix = this.reading.fix?.v, sats = this.reading.sats?.v
    say(this.fix, [FIXES[fix] ?? "", Number.isFinite(sats) ? `${sats} satellites` : ""].filter(Boolean).join(" · "))
  }
  isKnown(i) { return Number.isFinite(this.lat.v[i]) && Number.isFinite(this.lon.at(this.lat.t[i])) }
  // Runs of points [time, east, north] in metres from the newest one; a silence ends a run.
  runs(start) {
    let end = this.lat.t.length - 1
    while (end >= 0 && !this.isKnown(end)) end--  // it may be silent just now
    if (end < 0) return []
    const lat0 = this.lat.v[end], lon0 = this.lon.at(this.lat.t[end]), narrow = EARTH * Math.cos(lat0 * Math.PI / 180)
    const runs = [[]]
    for (let i = 0; i <= end; i++) {
      const t = this.lat.t[i], lat = this.lat.v[i], lon = this.lon.at(t), run = runs[runs.length - 1]
      if (t < start) continue
      if (!this.isKnown(i)) { if (run.length) runs.push([]); continue }
      if (run.length && t - run[run.length - 1][0] > OFFLINE) runs.push([])
      runs[runs.length - 1].push([t, (lon - lon0) * narrow, (lat - lat0) * EARTH])
    }
    return runs.filter((run) => run.length)
  }
  draw(start) {
    const runs = this.runs(start), points = runs.flat()
    const width = this.area.clientWidth || 360, height = this.area.clientHeight || 190, pad = 22
    const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img"})
    this.area.replaceChildren(picture)
    if (!points.length) return
    const span = (k) => [Math.min(...points.map((p) => p[k])), Math.max(...points.map((p) => p[k]))]
    const [west, east] = span(1), [south, north] = span(2)
    const scale = Math.min((width - 2 * pad) / Math.max(east - west, LEAST), (height - 2 * pad) / Math.max(north - south, LEAST))
    const place = ([, x, y]) => [width / 2 + (x - (east + west) / 2) * scale, height / 2 - (y - (north + south) / 2) * scale]
    for (const run of runs) this.line(picture, run, place, start)
    this.machine(picture, place(points[points.length - 1]))
    this.scale(picture, scale, width, height)
  }
  line(picture, run, place, start) {
    const shade = ([t]) => Math.min(FADES.length - 1, Math.max(0, Math.floor((t - start) / WINDOW * FADES.length)))
    for (let from = 0; from < run.length - 1;) {
      let to = from + 1
      while (to < run.length - 1 && shade(run[to]) === shade(run[from])) to++
      const d = run.slice(from, to + 1).map((p, i) => `${i ? "L" : "M"}${place(p).map((x) => x.toFixed(1)).join(" ")}`).join("")
      picture.append(svg("path", {d, class: "way", opacity: FADES[shade(run[from])]}))
      from = to
    }
  }
  machine(picture, [x, y]) {
    const heading = this.reading.heading?.v
    const at = `translate(${x.toFixed(1)} ${y.toFixed(1)})`
    picture.append(Number.isFinite(heading)
      ? svg("path", {d: "M0 -10 L7 8 L0 4 L-7 8 Z", class: "machine", transform: `${at} rotate(${heading.toFixed(0)})`})
      : svg("circle", {r: 5, class: "machine", transform: at}))
  }
  scale(picture, scale, width, height) {  // a bar of 1, 2 or 5 times a power of ten metres
    const most = width * 0.3 / scale, power = 10 ** Math.floor(Math.log10(most))
    const metres = power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1), long = metres * scale
    picture.append(svg("path", {d: `M12 ${height - 14} v4 h${long.toFixed(1)} v-4`, class: "scale"}))
    const words = svg("text", {x: 12, y: height - 18, class: "words"})
    words.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`
    const north = svg("text", {x: width - 18, y: 18, class: "words"})
    north.textContent = "N"
    picture.append(words, north, svg("path", {d: `M${width - 14} 24 l4 9 l-4 -3 l-4 3 Z`, class: "north"}))
  }
}
