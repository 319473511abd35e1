// Curves and the charts they are on. Sources and ranges are set with {sync: false}: what the browser draws is not sent
// back to the server.

// One curve: times and values of the window, in the order of time, and the Bokeh source they go to.
class Curve {
  constructor(renderer, axis) { this.renderer = renderer; this.axis = axis; this.t = []; this.v = [] }
  take(t, v) {
    const at = this.after(t)
    if (at && this.t[at - 1] === t) return  // the store has it as well as the stream
    if (at === this.t.length) { this.t.push(t); this.v.push(v) }
    else { this.t.splice(at, 0, t); this.v.splice(at, 0, v) }
  }
  drop(t) {
    const at = this.after(t)
    if (at && this.t[at - 1] === t) { this.t.splice(at - 1, 1); this.v.splice(at - 1, 1) }
  }
  trim(oldest) {
    let n = 0
    while (n + 1 < this.t.length && this.t[n + 1] < oldest) n++
    if (n > 64) { this.t.splice(0, n); this.v.splice(0, n) }
  }
  after(t) {  // place of the first time after this one
    let low = 0, high = this.t.length
    if (!high || this.t[high - 1] <= t) return high
    while (low < high) { const mid = (low + high) >> 1; if (this.t[mid] <= t) low = mid + 1; else high = mid }
    return low
  }
  at(t) {  // the value held at a time
    const low = this.after(t)
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
  constructor(chart, figure, plot, readings, marks) {
    this.figure = figure
    this.marks = marks
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
    const reach = 6 * (end - start) / this.figure.inner_width
    this.tip.append(...this.marks.near(x, reach))
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
  trim(oldest) { for (const curve of this.curves) curve.trim(oldest) }
  draw(start) {
    for (const curve of this.curves) curve.draw()
    const bounds = new Map()
    for (const curve of this.curves) {
      if (!curve.renderer.visible) continue
      if (!bounds.has(curve.axis)) bounds.set(curve.axis, [Infinity, -Infinity])
      curve.bounds(start, bounds.get(curve.axis))
    }
    for (const [range, span] of bounds) settle(range, span)
  }
}
