// The table of tests × kernels, the filters above it, and the groups of failures.

// Rows added at once: enough for a screen, few enough for a slow machine.
const CHUNK = 50;
// A page for a printer has at most this many.
const PRINTED = 1500;

const table = { rows: [], drawn: 0, active: null };

function filters() {
  const change = () => { readFilters(); update(); };
  const choice = (id, label, options) => el('label', {}, `${label} `,
    el('select', { id, onchange: change }, ...options.map(([value, text]) => el('option', { value }, text))));
  const boxes = (name, legend, words, counts) => el('fieldset', { id: name }, el('legend', {}, legend),
    ...words.map((word, index) => [word, counts[index]]).filter(([, count]) => count > 0)
      .map(([word, count]) => el('label', { class: `chip ${word}` },
        el('input', { type: 'checkbox', value: word, onchange: change }), ` ${word} ${count}`)));
  const counts = CLASSES.map(() => 0);
  for (const row of run.tests) for (const cell of row.c) if (cell >= 0) counts[classOf(cell)] += 1;
  const changes = CHANGES.map(() => 0);
  if (run.base) for (const [of] of Object.values(run.base.cells)) changes[of] += 1;
  const parts = [
    el('label', { class: 'wide' }, 'Text ',
      el('input', { type: 'search', id: 'q', placeholder: 'name or message', oninput: change, 'aria-keyshortcuts': '/' })),
  ];
  if (run.suites.length > 1) {
    parts.push(choice('suite', 'Suite', [['', 'all'], ...run.suites.map((suite) => [suite.name, suite.name])]));
  }
  if (K > 1) {
    parts.push(choice('kernel', 'Kernel', [['', 'all'], ...run.kernels.map((kernel) => [kernel.name, kernel.name])]));
  }
  parts.push(
    el('label', {}, 'At least ', el('input', { type: 'number', id: 'min', min: 0, step: 'any', oninput: change }), ' s'),
    choice('sort', 'Sort by', [['kind', run.base ? 'what has changed first' : 'what differs first'], ['name', 'name'], ['time', 'longest time']]),
    boxes('verdicts', 'Verdicts', CLASSES, counts),
  );
  if (run.base) {
    const changed = boxes('changes', `Since ${run.base.title}`, CHANGES, changes);
    changed.append(el('button', { type: 'button', id: 'changed', onclick: () => {
      for (const box of changed.querySelectorAll('input')) box.checked = box.value !== 'still failing';
      change();
    } }, 'all changes'));
    parts.push(changed);
  }
  parts.push(
    el('label', { class: 'chip' }, el('input', { type: 'checkbox', id: 'all', onchange: change }), ' also what is as expected'),
    el('button', { type: 'button', id: 'reset', onclick: () => { Object.assign(view, DEFAULTS); update(); } }, 'Reset'),
  );
  return el('form', { id: 'filters', role: 'search', 'aria-label': 'Filter the tests', onsubmit: (event) => event.preventDefault() }, ...parts);
}

const control = (id) => document.getElementById(id);
const checked = (id) => [...document.querySelectorAll(`#${id} input:checked`)].map((box) => box.value);

function readFilters() {
  view.q = control('q').value;
  view.suite = control('suite')?.value || '';
  view.kernel = control('kernel')?.value || '';
  view.verdicts = checked('verdicts');
  view.changes = checked('changes');
  view.min = Math.max(0, Number(control('min').value)) || 0;
  view.sort = control('sort').value;
  view.all = control('all').checked;
}

function writeFilters() {
  // Not while somebody types: `1.` and `1` are one number.
  const set = (id, value) => { const one = control(id); if (one && document.activeElement !== one) one.value = value; };
  set('q', view.q);
  set('suite', view.suite);
  set('kernel', view.kernel);
  set('min', view.min || '');
  set('sort', view.sort);
  control('all').checked = view.all;
  for (const [id, words] of [['verdicts', view.verdicts], ['changes', view.changes]]) {
    for (const box of document.querySelectorAll(`#${id} input`)) box.checked = words.includes(box.value);
  }
}

// Failures with one message; a press marks their cells and shows only them.
function groups() {
  if (!run.groups.length) return undefined;
  const press = (number) => () => { view.group = view.group === number ? 0 : number; update(); };
  const button = (group, index) => el('li', {}, el('button', {
    type: 'button', class: 'group', 'aria-pressed': 'false', 'data-group': index + 1, onclick: press(index + 1),
  }, el('span', { class: `count ${CLASSES[group.v]}` }, `${group.n} × ${CLASSES[group.v]}`), ' ',
  el('bdi', {}, group.m || 'no message')));
  const most = 8;
  const rest = run.groups.slice(most).map((group, index) => button(group, index + most));
  return el('section', { 'aria-labelledby': 'groups-title' },
    el('h2', { id: 'groups-title' }, 'Failures by message'),
    el('ul', { class: 'groups' }, ...run.groups.slice(0, most).map(button)),
    rest.length ? el('details', {}, el('summary', {}, `${counted(rest.length, 'more message')}`),
      el('ul', { class: 'groups' }, ...rest)) : undefined);
}

function tests() {
  return el('section', { 'aria-labelledby': 'tests-title' },
    el('h2', { id: 'tests-title' }, 'Tests'),
    filters(),
    el('p', { id: 'count', role: 'status' }),
    el('div', { class: 'scroll' },
      el('table', { id: 'grid', role: 'grid', 'aria-labelledby': 'tests-title', onkeydown: move, onclick: press },
        el('thead', {}, el('tr', { id: 'head' })), el('tbody', { id: 'body' }))),
    el('p', {}, el('button', { type: 'button', id: 'more', hidden: true, onclick: () => draw(CHUNK * 5) }, 'Show more')));
}

// Shows what the view says.
function update() {
  writeFilters();
  keepFragment();
  const { rows, folded } = matching();
  const shown = columns();
  table.rows = rows;
  table.drawn = 0;
  control('head').replaceChildren(el('th', { scope: 'col' }, 'test'), ...shown.map((kernel) =>
    el('th', { scope: 'col', title: run.kernels[kernel].release || undefined }, el('bdi', {}, run.kernels[kernel].name))));
  control('body').replaceChildren();
  draw(CHUNK);
  const quiet = folded
    ? `; ${counted(folded, 'test')} as expected on every kernel ${folded === 1 ? 'is' : 'are'} folded away` : '';
  const unfold = folded ? el('button', { type: 'button', id: 'unfold', onclick: () => { view.all = true; update(); } }, 'show them') : undefined;
  control('count').replaceChildren(`${counted(rows.length, 'test')} of ${run.tests.length}${quiet} `, ...(unfold ? [unfold] : []));
  for (const button of document.querySelectorAll('[data-group]')) {
    button.setAttribute('aria-pressed', String(Number(button.dataset.group) === view.group));
  }
}

// Adds up to `count` of the rows that match.
function draw(count) {
  const shown = columns();
  const next = table.rows.slice(table.drawn, table.drawn + count);
  const body = control('body');
  body.append(...next.map((row) => rowElement(row, shown)));
  table.drawn += next.length;
  const left = table.rows.length - table.drawn;
  control('more').hidden = left === 0;
  control('more').textContent = `Show more (${left} left)`;
  // One cell of the table can be reached by Tab; arrow keys go on from there.
  if (!body.querySelector('[tabindex="0"]')) body.querySelector('button')?.setAttribute('tabindex', '0');
}

function rowElement(row, shown) {
  const name = [el('bdi', {}, row.id)];
  if (run.suites.length > 1) name.push(' ', el('small', {}, suiteOf(row)));
  return el('tr', {}, el('th', { scope: 'row' }, ...name), ...shown.map((kernel) => cellElement(row, kernel)));
}

function cellElement(row, kernel) {
  const cell = row.c[kernel];
  const word = cell < 0 ? 'none' : CLASSES[classOf(cell)];
  const change = changeOf(row, kernel);
  const changed = change && CHANGES[change[0]] !== 'same' ? CHANGES[change[0]] : '';
  const marked = view.group && detailOf(row, kernel).g === view.group ? ' marked' : '';
  const button = el('button', { type: 'button', tabindex: '-1', class: `cell ${word}${marked}` },
    cell < 0 ? '\u2013' : word,
    changed ? el('small', { class: 'change' }, changed) : undefined,
    cell >= 0 && view.sort === 'time' ? el('small', {}, seconds(msOf(cell))) : undefined);
  if (cell < 0) button.setAttribute('aria-label', `no verdict${changed ? `, ${changed}` : ''}`);
  button.at = { row, kernel };
  return el('td', {}, button);
}

function press(event) {
  const at = event.target.closest('button.cell')?.at;
  if (at) openCell(at.row, at.kernel);
}

// Arrow keys, Home, End and Page keys move among the cells.
function move(event) {
  const from = event.target.closest('button.cell');
  if (!from || event.altKey || event.metaKey) return;
  const line = from.closest('tr');
  const body = control('body');
  let row = line.sectionRowIndex;
  let column = from.parentElement.cellIndex;
  const last = line.cells.length - 1;
  switch (event.key) {
    case 'ArrowLeft': column -= 1; break;
    case 'ArrowRight': column += 1; break;
    case 'ArrowUp': row -= 1; break;
    case 'ArrowDown': row += 1; break;
    case 'PageUp': row -= 20; break;
    case 'PageDown': row += 20; break;
    case 'Home': column = 1; if (event.ctrlKey) row = 0; break;
    case 'End': column = last; if (event.ctrlKey) row = table.rows.length - 1; break;
    default: return;
  }
  event.preventDefault();
  row = Math.min(Math.max(row, 0), table.rows.length - 1);
  if (row >= table.drawn) draw(row - table.drawn + CHUNK);
  column = Math.min(Math.max(column, 1), last);
  activate(body.rows[row].cells[column].firstElementChild);
}

// Gives a cell the focus, and makes it the one that Tab comes back to.
function activate(button) {
  for (const other of document.querySelectorAll('#body [tabindex="0"]')) other.setAttribute('tabindex', '-1');
  button.setAttribute('tabindex', '0');
  button.focus();
}
