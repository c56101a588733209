(function () {
  const bar = document.querySelector(".filters");
  if (!bar) return;
  bar.hidden = false;
  const word = bar.querySelector("input"), buttons = [...bar.querySelectorAll("button")], none = document.querySelector(".none");
  let verdict = "";
  function show() {
    const wanted = word.value.trim().toLowerCase();
    let count = 0;
    for (const item of document.querySelectorAll("[data-verdict]")) {
      const text = item.dataset.text || item.textContent.toLowerCase();
      item.dataset.text = text;
      item.hidden = !((!verdict || item.dataset.verdict === verdict) && (!wanted || text.includes(wanted) || item.dataset.key.toLowerCase() === wanted));
    }
    for (const item of document.querySelectorAll("section.claim")) count += item.hidden ? 0 : 1;
    none.hidden = count > 0;
  }
  for (const button of buttons) button.addEventListener("click", () => {
    verdict = button.value;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
  word.addEventListener("input", show);
})();
