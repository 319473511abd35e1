// The live board in the browser: keeps two minutes of every curve, paints them together, and tells the age of things.
//
// The server sends rows (number of the series, time in ms UTC, value, status) and nothing else; ranges, trimming,
// legends, the table and the badge are worked out here.

const STORED = 30_000  // ms; so long after the store brought something new a machine counts as sending in normal mode

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
  const marks = new Marks(figures[0]?.renderers[model.charts[0].lines.length].data_source ?? null)
  const charts = model.charts.map((chart, i) => new ChartView(chart, figures[i], plots[i], readings, marks))
  const track = "lat" in model.track ? new Track(model.track, readings) : null
  const views = track ? [...charts, track] : charts
  const curves = new Map()  // number of a series -> where it is drawn
  charts.forEach((chart, i) => model.charts[i].lines.forEach((line, k) => push(curves, line.number, [chart, chart.curves[k]])))
  for (const [name, number] of Object.entries(model.track)) push(curves, number, [track, track.curveOf(name)])
  if (model.fields.length) root.append(group("overview", [...(track ? [track.el] : []), marks.el]))
  const ofBuses = charts.filter((_, i) => !model.charts[i].client), ofClient = charts.filter((_, i) => model.charts[i].client)
  if (ofBuses.length) root.append(group("", ofBuses.map((c) => c.el)))
  if (model.more > 0) root.append(moreButton(model))
  if (ofClient.length) root.append(el("h3", "part", "Client metrics"), group("client", ofClient.map((c) => c.el)))
  if (model.fields.length) root.append(table.el)
  const x_range = figures[0]?.x_range

  let offset = null            // server's clock minus ours, ms
  let heard = -Infinity, newest = -Infinity, stored = -Infinity, rate = [0, 0], trouble = "", missing = "", gapEnds = 0
  let streaming = {word: "idle", why: ""}
  let painted = 0, timer = 0, dirty = false
  const breaks = new Set()     // times at which the curves are broken
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
    if (message.streaming) streaming = message.streaming
    if (message.missing != null) missing = message.missing && `Older data is missing: ${message.missing}`
    if (message.fields?.length) addFields(message.fields)
    for (const [number, t, text] of message.texts ?? []) {
      const reading = readings[number]
      if (reading && t >= reading.t) { reading.t = t; reading.text = text }
    }
    const before = newest, first = !Number.isFinite(newest)
    if (message.fill) mend(...message.fill)
    takeRows(message.rows ?? [])
    if (message.fill && newest > before) stored = now()
    if (first && message.heard == null && Number.isFinite(newest)) stored = newest
    if (message.marks) marks.show(message.marks)
    if (missing && !gapEnds) gapEnds = newest + WINDOW
    dirty = true
    schedule()
  }

  function takeRows(rows) {
    for (let i = 0; i < rows.length; i += 4) {
      const [number, t, v, status] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]]
      readings[number]?.take(t, v, status)
      if (status === BREAK) breaks.add(t)
      else if (t > newest) newest = t
      for (const [view, curve] of curves.get(number) ?? []) { curve?.take(t, v); view.stale = true }
    }
  }

  function mend(start, end) {  // what was silent here is known now
    for (const t of breaks) {
      if (t < start || t > end) continue
      for (const drawn of curves.values()) for (const [, curve] of drawn) curve?.drop(t)
      breaks.delete(t)
    }
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
    for (const view of views) {
      view.legend()
      if (view.stale && view.visible) { view.stale = false; view.draw(end - WINDOW) }
    }
    tell()
  }

  function trim() {  // also of a tab that nobody looks at, which is not painted for hours
    for (const view of views) view.trim(newest - KEEP)
    for (const t of breaks) if (t < newest - KEEP) breaks.delete(t)
  }

  function stateNow() {
    if (now() - heard < OFFLINE && !trouble) return "online"
    if (trouble) return "offline"
    if (streaming.word === "starting") return "starting"
    if (now() - stored < STORED) return "normal"
    return Number.isFinite(Math.max(heard, newest)) ? "offline" : "waiting"
  }

  function words(state) {
    if (trouble) return trouble
    const why = streaming.word === "refused" ? streaming.why : ""
    if (state === "normal") return why && `Not streaming (${why}). What the machine sends is shown as it is stored.`
    const silent = now() - Math.max(heard, newest)
    if (state !== "online" && Number.isFinite(newest) && (state !== "starting" || silent > STORED))
      return `Nothing received for ${age(silent)}. These are the last values, up to ${moment(newest)}.${why && ` Not streaming (${why}).`}`
    return newest < gapEnds ? missing : ""
  }

  function tell() {
    if (offset === null) return
    const state = stateNow(), said = words(state)
    table.draw(now())
    const detail = {state, rate, age: now() - newest, since: Number.isFinite(newest) ? moment(newest) : ""}
    window.dispatchEvent(new CustomEvent("duco-live", {detail}))
    say(notice, said)
    notice.hidden = !said
    notice.classList.toggle("calm", state === "normal")
    root.dataset.state = state === "online" ? "online" : "offline"
  }

  // What nobody sees is kept, not painted.
  const seen = new IntersectionObserver((changes) => {
    for (const change of changes) {
      const view = views.find((v) => v.el === change.target)
      view.visible = change.isIntersecting
      if (view.visible && view.stale) { dirty = true; schedule() }
    }
  }, {rootMargin: "200px"})
  views.forEach((v) => seen.observe(v.el))
  // The map is drawn in pixels, so it is drawn anew when there are more or fewer of them.
  const resized = new ResizeObserver(() => { if (track) { track.stale = dirty = true; schedule() } })
  if (track) resized.observe(track.area)

  const ticking = setInterval(() => { trim(); tell() }, 1000)
  const messages = (message) => take(message)
  model.on("msg:custom", messages)
  model.on("remove", () => { clearInterval(ticking); clearTimeout(timer); seen.disconnect(); resized.disconnect() })
  model.send_msg({what: "ready"})
  return root
}

function group(cls, cards) {
  const grid = el("div", `grid ${cls}`)
  grid.append(...cards)
  return grid
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
