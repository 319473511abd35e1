// The newest value of every series, filtered by words.

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
