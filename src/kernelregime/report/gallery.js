(function () {
  const bar = document.querySelector(".filters");
  if (!bar) return;
  bar.hidden = false;
  const word = bar.querySelector("input"), buttons = [...bar.querySelectorAll("button")], none = document.querySelector(".none");
  const claims = [...document.querySelectorAll("section.claim")], keys = claims.map(item => item.dataset.key.toLowerCase());
  const texts = claims.map(item => item.textContent.toLowerCase());
  const rows = claims.map(item => document.querySelector('tr a[href="#' + item.id + '"]').closest("tr"));
  let verdict = "";
  function show() {
    const wanted = word.value.trim().toLowerCase(), key = keys.includes(wanted);
    let count = 0;
    claims.forEach((item, at) => {
      const found = !wanted || (key ? keys[at] === wanted : texts[at].includes(wanted));
      item.hidden = rows[at].hidden = !(found && (!verdict || item.dataset.verdict === verdict));
      count += item.hidden ? 0 : 1;
    });
    none.hidden = count > 0;
  }
  for (const button of buttons) button.addEventListener("click", () => {
    verdict = button.value;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    show();
  });
  word.addEventListener("input", show);
})();
