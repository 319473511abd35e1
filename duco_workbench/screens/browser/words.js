// Words and numbers: what the other scripts of the board share. They are put together into one, in the order that
// board.py names them, so that none imports another.

const WINDOW = 120_000        // ms drawn
const KEEP = WINDOW + 5_000   // ms kept, so that a line leaves the picture at its edge
const PAINT = 250             // ms between two paintings at least
const OFFLINE = 10_000        // ms of silence
const STATUS = ["ok", "not available", "error", "out of range"]
const BREAK = 255             // in place of a status: a silence, no reading
const TONES = {error: "#d9534f", warning: "#e0982a", info: "#8592a0"}

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
    if (this.unit === "°") return /lat|lon/i.test(this.signal) ? 6 : 1
    if (this.unit === "1/min" || this.unit === "rpm") return 0
    return this.most >= 100 ? 1 : this.most >= 1 ? 2 : 4
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
