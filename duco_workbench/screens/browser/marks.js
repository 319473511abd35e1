// Trouble codes, events and log lines: a list, and vertical marks on every chart. The server sends all of them whenever
// any changed; active codes come first.

class Marks {
  constructor(source) {
    this.source = source  // Bokeh's, shared by all charts; null where there is no chart
    this.items = []
    this.el = el("section", "card events")
    const head = el("header"), title = el("h2", null, "Events & trouble codes")
    this.count = el("small")
    this.body = el("ol")
    title.append(this.count)
    head.append(title)
    this.el.append(head, this.body)
    this.show([])
  }
  show(items) {
    this.items = items
    const active = items.filter((i) => i.state === "active").length
    say(this.count, active ? `${active} active` : "")
    this.count.classList.toggle("active", active > 0)
    this.body.replaceChildren(...(items.length ? items.map((i) => this.row(i)) :
      [el("li", "none", "Nothing in the last 30 minutes.")]))
    const drawn = items.filter((i) => i.kind !== "log")
    if (this.source) quiet(this.source, {data: {t: drawn.map((i) => i.t), color: drawn.map((i) => TONES[i.severity])}})
  }
  row(item) {
    const row = el("li", `${item.kind} ${item.state}`), words = el("span", "words")
    row.dataset.severity = item.severity
    row.title = `${moment(item.t)} · ${item.severity}`
    words.append(el("b", null, item.title), el("span", null, item.text))
    const state = item.state === "cleared" ? `cleared ${clock(item.until)}` : item.state || (item.kind === "log" ? item.source : "")
    row.append(el("time", null, clock(item.t)), el("i"), words, el("small", null, item.kind === "code" ? item.source : ""), el("em", null, state))
    return row
  }
  near(x, reach) {  // what a chart's hover says of the marks under the cursor
    return this.items.filter((i) => i.kind !== "log" && Math.abs(i.t - x) <= reach).map((item) => {
      const row = el("div", "mark"), mark = el("i")
      mark.style.background = TONES[item.severity]
      row.append(mark, el("b", null, item.title), el("span", null, [item.severity, item.text, clock(item.t)].filter(Boolean).join(" · ")))
      return row
    })
  }
}
