// Puts the page together.

{
  const app = document.getElementById('app');
  app.append(...[groups(), tests()].filter(Boolean));
  fromFragment();
  update();

  // What is further down is drawn when it comes into view, so that a large run opens at once.
  const later = el('div', { id: 'charts' });
  app.append(later);
  let drawn = false;
  const drawCharts = () => {
    if (drawn) return;
    drawn = true;
    later.append(...[timeline(), durations()].filter(Boolean));
  };
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) drawCharts();
  }, { rootMargin: '600px' });
  seen.observe(later);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && table.drawn < table.rows.length) draw(CHUNK);
  }, { rootMargin: '400px' }).observe(control('more'));

  const openLinked = () => {
    const at = view.cell && cellOfName(view.cell);
    if (at) openCell(at.row, at.kernel);
    else if (dialog.open) dialog.close();
  };
  openLinked();
  addEventListener('hashchange', () => { fromFragment(); const { cell } = view; update(); view.cell = cell; openLinked(); });
  addEventListener('keydown', (event) => {
    const typing = event.target.closest('input, select, textarea');
    if (event.key === '/' && !typing && !dialog.open) { event.preventDefault(); control('q').focus(); }
  });
  addEventListener('beforeprint', () => {
    drawCharts();
    draw(Math.max(0, Math.min(PRINTED, table.rows.length) - table.drawn));
  });
  document.documentElement.dataset.ready = 'yes';
}
