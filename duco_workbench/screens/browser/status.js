// The badge in the top bar: online or offline, how much comes, how old it is; and the Refresh button.
// The board tells it what it sees by the window's "duco-live" event.

const ANSWER = 3000  // ms a server may take before Refresh loads the whole page again

export function render({model}) {
  const root = document.createElement("div")
  root.className = "status"
  root.innerHTML = `<span class="badge" role="status" data-state="waiting"><i></i><b>waiting</b></span><span class="detail"></span><span class="short"></span>
    <button type="button" title="Refresh: connect again and draw anew" aria-label="Refresh"><svg viewBox="0 0 24 24" width="20" height="20"
    fill="currentColor"><path d="M17.65 6.35A7.96 7.96 0 0 0 12 4a8 8 0 1 0 7.73 10h-2.08A6 6 0 1 1 12 6c1.66 0 3.14.69 4.22 1.78L13 11h7V4z"/></svg></button>`
  const badge = root.querySelector(".badge"), word = root.querySelector("b"), detail = root.querySelector(".detail")
  const short = root.querySelector(".short")
  const button = root.querySelector("button")

  const number = (n) => n >= 100 ? n.toFixed(0) : n.toFixed(1)
  const seconds = (ms) => ms < 10_000 ? `${(Math.max(0, ms) / 1000).toFixed(1)} s` : ms < 120_000 ? `${Math.floor(ms / 1000)} s` : null
  const WORDS = {starting: "starting …", normal: "normal mode"}
  function tell({detail: {state, rate, age, since}}) {
    badge.dataset.state = state
    word.textContent = WORDS[state] ?? state
    const old = seconds(age)
    detail.textContent = state === "online" ? `${number(rate[0])} messages/s · ${number(rate[1])} values/s · newest ${old ?? since} old`
      : state === "starting" ? "the machine is asked to stream"
      : state === "normal" ? `as stored · newest ${old ?? since} old`
      : since ? `last seen ${old ? `${old} ago` : since}` : ""
    short.textContent = state === "online" || state === "normal" ? old ?? "" : ""
    badge.title = detail.textContent
  }
  window.addEventListener("duco-live", tell)

  let waiting = 0
  button.addEventListener("click", () => {
    button.classList.add("turning")
    waiting = setTimeout(() => location.reload(), ANSWER)
    model.send_msg({what: "refresh"})
  })
  model.on("msg:custom", () => { clearTimeout(waiting); button.classList.remove("turning") })
  model.on("remove", () => { window.removeEventListener("duco-live", tell); clearTimeout(waiting) })
  return root
}
