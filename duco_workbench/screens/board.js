// The live board in the browser: keeps two minutes of every curve, paints them together, and tells the age of things.
//
// The server sends rows (number of the series, time in ms UTC, value, status) and nothing else; ranges, trimming,
// legends, the table and the badge are worked out here. Sources and ranges are set with {sync: false}: what the
// browser draws is not sent back to the server.

const WINDOW = 120_000        // ms drawn
const KEEP = WINDOW + 5_000   // ms kept, so that a line leaves the picture at its edge
const PAINT = 250             // ms between two paintings at least
const OFFLINE = 10_000        // ms of silence
const STATUS = ["ok", "not available", "error", "out of range"]
const BREAK = 255             // in place of a status: a silence, no reading

const el = (tag, cls, text) => {
  const node = document.createElement(tag)
  if (cls) node.className = cls
  if (text != null) node.textContent = text
  return node
}
const say = (node, text) => { if (node.textContent !== text) node.textContent = text }
const quiet = (model, props) => model.setv(props, {sync: false})

const two = (n) => String(n).padStart(2, "0")
const clock = (ms) => { const d = new Date(ms); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}` }
const moment = (ms) => {
  const d = new Date(ms)
  return d.toDateString() === new Date().toDateString() ? clock(ms)
    : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`
}
const age = (ms) => {
  const s = Math.max(0, ms) / 1000
  if (s < 60) return `${Math.floor(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 172_800) return `${Math.floor(s / 3600)} h`
  return `${Math.floor(s / 86_400)} d`
}

// Digits stay put while a value moves: they follow the greatest value seen, and whole numbers stay whole.
class Reading {
  constructor(field) {
    Object.assign(this, field)
    this.t = -Infinity; this.v = NaN; this.status = 1; this.text = null
    this.most = 0; this.whole = true
  }
  take(t, v, status) {
    if (status === BREAK || t < this.t) return
    this.t = t; this.v = v; this.status = status
    if (Number.isFinite(v)) {
      this.most = Math.max(this.most, Math.abs(v))
      this.whole = this.whole && Number.isInteger(v)
    }
  }
  get digits() {
    if (this.whole) return 0
    if (this.unit === "°") return 5
    if (this.unit === "1/min" || this.unit === "rpm") return 0
    return this.most >= 100 ? 1 : this.most >= 100 ? 1 : this.most >= 1 ? 2 : 4
  }
  get good() { return this.text != null || (this.status !== 1 && this.status !== 2 && Number.isFinite(this.v)) }
  get shown() {
    if (this.text != null) return this.text
    if (!this.good) return STATUS[this.status] === "ok" ? "no value" : STATUS[this.status]
    return this.write(this.v)
  }
  write(v) {
    return this.choices?.[v] ?? v.toLocaleString("en", {
      minimumFractionDigits: this.digits, maximumFractionDigits: this.digits, useGrouping: false}).replace("-", "−")
  }
}

// One curve: times and values of the window, and the Bokeh source they go to.
class Curve {
  constructor(renderer, axis) { this.renderer = renderer; this.axis = axis; this.t = []; this.v = [] }
  take(t, v) {
    if (this.t.length && t < this.t[this.t.length - 1]) return  // late: it is in the store, not in the picture
    this.t.push(t); this.v.push(v)
  }
  trim(oldest) {
    let n = 0
    while (n + 1 < this.t.length && this.t[n + 1] < oldest) n++
    if (n > 64) { this.t.splice(0, n); this.v.splice(0, n) }
  }
  at(t) {  // the value held at a time
    let low = 0, high = this.t.length
    while (low < high) { const mid = (low + high) >> 1; if (this.t[mid] <= t) low = mid + 1; else high = mid }
    return low ? this.v[low - 1] : NaN
  }
  draw() { quiet(this.renderer.data_source, {data: {t: Float64Array.from(this.t), v: Float64Array.from(this.v)}}) }
  bounds(start, into) {
    for (let i = this.t.length - 1; i >= 0 && this.t[i] >= start; i--) {
      const v = this.v[i]
      if (v < into[0]) into[0] = v
      if (v > into[1]) into[1] = v
    }
  }
}

// An axis moves only when a curve leaves it or fills less than half of it: a scale that jumps cannot be read.
function settle(range, [low, high]) {
  if (!(low <= high)) return
  const flat = high - low < 1e-9 * Math.max(1, Math.abs(high))
  const pad = flat ? Math.max(1, Math.abs(high) * 0.05) : (high - low) * 0.12
  const height = range.end - range.start
  const fits = range.settled && low >= range.start && high <= range.end && (high - low + 2 * pad) > 0.5 * height
  if (fits || (range.settled && flat && low >= range.start && high <= range.end && height < 4 * pad)) return
  const start = low >= 0 && low - pad < 0 ? -0.04 * (high + pad) : low - pad
  quiet(range, {start, end: high + pad})
  range.settled = true
}

class ChartView {
  constructor(chart, figure, plot, readings) {
    this.figure = figure
    this.visible = true
    this.curves = chart.lines.map((line, i) => {
      const renderer = figure.renderers[i]
      return new Curve(renderer, renderer.y_range_name === "right" ? figure.extra_y_ranges.get?.("right") ?? figure.extra_y_ranges.right : figure.y_range)
    })
    this.el = el("section", "card chart")
    const head = el("header")
    head.append(el("h2", null, chart.title))
    this.chips = chart.lines.map((line, i) => this.chip(line, this.curves[i], readings[line.number]))
    const legend = el("div", "legend")
    legend.append(...this.chips.map((c) => c.el))
    const area = el("div", "plot")
    this.tip = el("div", "tip")
    this.tip.hidden = true
    area.append(plot, this.tip)
    this.el.append(head, legend, area)
    for (const event of ["mousemove", "tap"]) figure.on_event(event, (e) => this.point(e))
    figure.on_event("mouseleave", () => { this.tip.hidden = true })
  }
  point({x, sx, sy}) {
    const {start, end} = this.figure.x_range
    if (!(x >= start && x <= end)) { this.tip.hidden = true; return }
    this.tip.replaceChildren(el("time", null, clock(x)))
    this.chips.forEach(({reading, color}, i) => {
      if (!this.curves[i].renderer.visible) return
      const v = this.curves[i].at(x), row = el("div"), mark = el("i")
      mark.style.background = color
      row.append(mark, el("span", null, reading.label), el("b", null, Number.isFinite(v) ? `${reading.write(v)} ${reading.unit}` : "no value"))
      this.tip.append(row)
    })
    this.tip.hidden = false
    const area = this.tip.parentElement, right = sx > area.clientWidth / 2
    this.tip.style.left = right ? "" : `${sx + 22}px`
    this.tip.style.right = right ? `${area.clientWidth - sx + 6}px` : ""
    this.tip.style.top = `${Math.min(sy, Math.max(0, area.clientHeight - this.tip.offsetHeight - 8))}px`
  }
  chip(line, curve, reading) {
    const node = el("button", "chip")
    node.type = "button"
    node.title = `${line.label} · ${reading.signal} · ${reading.source}\nClick to hide or show`
    const mark = el("i"), value = el("b")
    mark.style.background = line.color
    node.append(mark, el("span", null, line.label), value)
    node.addEventListener("click", () => {
      const visible = !curve.renderer.visible
      quiet(curve.renderer, {visible})
      node.classList.toggle("hidden", !visible)
      this.stale = true
    })
    return {el: node, value, reading, color: line.color}
  }
  legend() {
    for (const {value, reading} of this.chips) {
      say(value, reading.good ? `${reading.shown} ${reading.unit}`.trim() : reading.shown)
      value.classList.toggle("bad", !reading.good)
    }
  }
  draw(start) {
    for (const curve of this.curves) { curve.trim(start - KEEP + WINDOW); curve.draw() }
    const bounds = new Map()
    for (const curve of this.curves) {
      if (!curve.renderer.visible) continue
      if (!bounds.has(curve.axis)) bounds.set(curve.axis, [Infinity, -Infinity])
      curve.bounds(start, bounds.get(curve.axis))
    }
    for (const [range, span] of bounds) settle(range, span)
  }
}

class Table {
  constructor() {
    this.el = el("section", "card table")
    this.rows = []
    this.words = ""
    const head = el("header")
    this.count = el("small")
    const filter = el("input")
    Object.assign(filter, {type: "search", placeholder: "Filter", ariaLabel: "Filter the latest values"})
    filter.addEventListener("input", () => { this.words = filter.value.trim().toLowerCase(); this.filter() })
    const title = el("h2", null, "Latest values")
    title.append(this.count)
    head.append(title, filter)
    const table = el("table"), top = el("tr"), scroll = el("div", "scroll")
    for (const name of ["Variable", "Value", "Unit", "Status", "Source", "Age"]) top.append(el("th", name.toLowerCase(), name))
    const thead = el("thead")
    this.body = el("tbody")
    thead.append(top)
    table.append(thead, this.body)
    scroll.append(table)
    this.el.append(head, scroll)
  }
  add(readings) {
    for (const reading of readings) {
      const row = el("tr")
      const cell = Object.fromEntries(["variable", "value", "unit", "status", "source", "age"].map((c) => [c, el("td", c)]))
      cell.variable.append(el("span", null, reading.label), el("small", null, reading.signal.split(".")[0]))
      cell.variable.title = reading.signal
      say(cell.unit, reading.unit); say(cell.source, reading.source)
      row.append(...Object.values(cell))
      this.rows.push({el: row, cell, reading, words: `${reading.label} ${reading.signal} ${reading.source} ${reading.unit}`.toLowerCase()})
    }
    this.rows.sort((a, b) => a.reading.label.localeCompare(b.reading.label, undefined, {numeric: true}))
    this.body.replaceChildren(...this.rows.map((r) => r.el))
    this.filter()
  }
  filter() {
    const wanted = this.words.split(/\s+/).filter(Boolean)
    let shown = 0
    for (const row of this.rows) {
      row.el.hidden = !wanted.every((w) => row.words.includes(w))
      shown += !row.el.hidden
    }
    say(this.count, shown === this.rows.length ? `${shown}` : `${shown} of ${this.rows.length}`)
  }
  draw(now) {
    for (const {el: row, cell, reading} of this.rows) {
      if (row.hidden) continue
      say(cell.value, reading.shown)
      cell.value.classList.toggle("bad", !reading.good)
      const status = reading.text != null ? "ok" : STATUS[reading.status] ?? ""
      say(cell.status, status)
      cell.status.dataset.status = status
      say(cell.age, reading.t > 0 ? age(now - reading.t) : "")
      row.classList.toggle("old", now - reading.t > OFFLINE)
    }
  }
}

export function render({model}) {
  const root = el("div", "board")
  const notice = el("div", "notice")
  notice.hidden = true
  root.append(notice)
  if (model.empty_title) root.append(emptyState(model))

  const readings = []
  const table = new Table()
  const plots = model.get_child("figures"), figures = model.figures
  addFields(model.fields)
  const charts = model.charts.map((chart, i) => new ChartView(chart, figures[i], plots[i], readings))
  const curves = new Map()
  for (const chart of charts) model.charts[charts.indexOf(chart)].lines.forEach((line, i) => push(curves, line.number, [chart, chart.curves[i]]))
  const grid = el("div", "grid")
  grid.append(...charts.map((c) => c.el))
  if (charts.length) root.append(grid)
  if (model.more > 0) root.append(moreButton(model))
  if (model.fields.length) root.append(table.el)
  const x_range = figures[0]?.x_range

  let offset = null            // server's clock minus ours, ms
  let heard = -Infinity, newest = -Infinity, rate = [0, 0], trouble = "", missing = "", gapEnds = 0, painted = 0, timer = 0, dirty = false
  const now = () => Date.now() + (offset ?? 0)

  function push(map, key, value) { map.has(key) ? map.get(key).push(value) : map.set(key, [value]) }

  function addFields(fields) {
    const fresh = fields.map((f) => (readings[f.number] = new Reading(f)))
    if (fresh.length) table.add(fresh)
  }

  function take(message) {
    if (offset === null || message.clock) offset = message.clock - Date.now()
    if (message.heard != null) heard = Math.max(heard, message.heard)
    if (message.rate) rate = message.rate
    if (message.trouble != null) trouble = message.trouble
    if (message.missing) missing = `Older values are missing: ${message.missing}`
    if (message.fields?.length) addFields(message.fields)
    for (const [number, t, text] of message.texts ?? []) {
      const reading = readings[number]
      if (reading && t >= reading.t) { reading.t = t; reading.text = text }
    }
    const rows = message.rows ?? []
    for (let i = 0; i < rows.length; i += 4) {
      const [number, t, v, status] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]]
      readings[number]?.take(t, v, status)
      for (const [chart, curve] of curves.get(number) ?? []) { curve.take(t, v); chart.stale = true; if (t > newest) newest = t }
      if (status !== BREAK && t > newest) newest = t
    }
    if (missing && !gapEnds) gapEnds = newest + WINDOW
    dirty = true
    schedule()
  }

  function schedule() {
    if (timer) return
    timer = setTimeout(() => { timer = 0; requestAnimationFrame(paint) }, Math.max(0, painted + PAINT - Date.now()))
  }

  function paint() {
    painted = Date.now()
    if (!dirty) return
    dirty = false
    const end = newest
    if (x_range && Number.isFinite(end) && x_range.end !== end) quiet(x_range, {start: end - WINDOW, end})
    for (const chart of charts) {
      chart.legend()
      if (chart.stale && chart.visible) { chart.stale = false; chart.draw(end - WINDOW) }
    }
    tell()
  }

  function tell() {
    if (offset === null) return
    const silent = now() - heard, online = silent < OFFLINE && !trouble
    table.draw(now())
    const detail = {
      known: Number.isFinite(heard) || Number.isFinite(newest), online, rate, age: now() - newest,
      since: Number.isFinite(newest) ? moment(newest) : "", trouble}
    window.dispatchEvent(new CustomEvent("duco-live", {detail}))
    const words = trouble || (online || !Number.isFinite(newest) ? "" :
      `Nothing received for ${age(now() - Math.max(heard, newest))}. These are the last values, up to ${moment(newest)}.`)
      || (newest < gapEnds ? missing : "")
    say(notice, words)
    notice.hidden = !words
    root.dataset.state = online ? "online" : "offline"
  }

  // Curves nobody sees are kept, not painted.
  const seen = new IntersectionObserver((changes) => {
    for (const change of changes) {
      const chart = charts.find((c) => c.el === change.target)
      chart.visible = change.isIntersecting
      if (chart.visible && chart.stale) { dirty = true; schedule() }
    }
  }, {rootMargin: "200px"})
  charts.forEach((c) => seen.observe(c.el))

  const ticking = setInterval(tell, 1000)
  const messages = (message) => take(message)
  model.on("msg:custom", messages)
  model.on("remove", () => { clearInterval(ticking); clearTimeout(timer); seen.disconnect() })
  model.send_msg({what: "ready"})
  return root
}

function emptyState(model) {
  const box = el("div", "empty")
  box.append(el("h2", null, model.empty_title), el("p", null, model.empty_text))
  return box
}

function moreButton(model) {
  const button = el("button", "more", `Show ${model.more} more ${model.more > 1 ? "charts" : "chart"}`)
  button.type = "button"
  button.addEventListener("click", () => { button.disabled = true; model.send_msg({what: "more"}) })
  return button
}
