// What is shown: the filters, and the part of the URL after `#` that keeps them.

const DEFAULTS = {
  q: '', suite: '', kernel: '', verdicts: [], min: 0, sort: 'kind', all: false, group: 0, changes: [],
  cell: '',
};
const view = { ...DEFAULTS };

// `#q=str&verdict=fail,timeout`; what equals the default is left out.
function toFragment() {
  const words = new URLSearchParams();
  if (view.q) words.set('q', view.q);
  if (view.suite) words.set('suite', view.suite);
  if (view.kernel) words.set('kernel', view.kernel);
  if (view.verdicts.length) words.set('verdict', view.verdicts.join(','));
  if (view.changes.length) words.set('change', view.changes.join(','));
  if (view.min) words.set('min', view.min);
  if (view.sort !== DEFAULTS.sort) words.set('sort', view.sort);
  if (view.all) words.set('all', '1');
  if (view.group) words.set('group', view.group);
  if (view.cell) words.set('cell', view.cell);
  return words.toString();
}

// Whatever somebody typed there: unknown values count as unset.
function fromFragment() {
  const words = new URLSearchParams(location.hash.slice(1));
  const list = (name, known) =>
    (words.get(name) || '').split(',').filter((word) => known.includes(word));
  const among = (name, known) => (known.includes(words.get(name)) ? words.get(name) : '');
  view.q = words.get('q') || '';
  view.suite = among('suite', run.suites.map((suite) => suite.name));
  view.kernel = among('kernel', run.kernels.map((kernel) => kernel.name));
  view.verdicts = list('verdict', CLASSES);
  view.changes = list('change', CHANGES);
  view.min = Math.max(0, Number(words.get('min'))) || 0;
  view.sort = among('sort', Object.keys(ORDERS)) || DEFAULTS.sort;
  view.all = words.get('all') === '1';
  const group = Number(words.get('group'));
  view.group = Number.isInteger(group) && group > 0 && group <= run.groups.length ? group : 0;
  view.cell = words.get('cell') || '';
}

function keepFragment() {
  const words = toFragment();
  // Without an entry in the browser's history for each letter typed.
  if (words !== location.hash.slice(1)) history.replaceState(null, '', `#${words}`);
}

// A cell in a fragment: kernel, suite and id, and a number where several tests have one name.
const namesakes = new Map();
for (const row of run.tests) {
  const name = JSON.stringify([suiteOf(row), row.id]);
  namesakes.set(name, [...(namesakes.get(name) || []), row]);
}
const cellName = (row, kernel) => {
  const rows = namesakes.get(JSON.stringify([suiteOf(row), row.id]));
  const words = [run.kernels[kernel].name, suiteOf(row), row.id];
  if (rows.length > 1) words.push(rows.indexOf(row));
  return JSON.stringify(words);
};
function cellOfName(text) {
  try {
    const [kernelName, suite, id, which = 0] = JSON.parse(text);
    const kernel = run.kernels.findIndex((one) => one.name === kernelName);
    const row = (namesakes.get(JSON.stringify([suite, id])) || [])[which];
    return row && kernel >= 0 ? { row, kernel } : undefined;
  } catch {
    return undefined;
  }
}

// The columns on show, as indices of kernels.
const columns = () => {
  const all = run.kernels.map((_, index) => index);
  return view.kernel ? all.filter((index) => run.kernels[index].name === view.kernel) : all;
};

// The rows that match, and how many of them are folded because everything is as expected.
function matching() {
  const shown = columns();
  const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const suite = run.suites.findIndex((one) => one.name === view.suite);
  const verdicts = new Set(view.verdicts.map((word) => CLASS[word]));
  const changes = new Set(view.changes.map((word) => CHANGES.indexOf(word)));
  const least = view.min * 1000;
  const fold = !view.all && !words.length && !verdicts.size && !changes.size && !view.group && !least;
  const rows = [];
  let folded = 0;
  for (const row of run.tests) {
    if (view.suite && row.s !== suite) continue;
    if (!words.every((word) => row.words.includes(word))) continue;
    let fits = false;
    let loud = false;
    for (const kernel of shown) {
      const cell = row.c[kernel];
      const change = changeOf(row, kernel);
      if (changes.size && !(change && changes.has(change[0]))) continue;
      if (cell < 0) {
        fits ||= changes.size > 0 || (!verdicts.size && !view.group && !least && !view.kernel);
        loud ||= change !== undefined;
        continue;
      }
      const of = classOf(cell);
      if (verdicts.size && !verdicts.has(of)) continue;
      if (least && msOf(cell) < least) continue;
      if (view.group && detailOf(row, kernel).g !== view.group) continue;
      fits = true;
      loud ||= !QUIET.has(of) || (change !== undefined && CHANGES[change[0]] !== 'same');
    }
    if (!fits) continue;
    if (fold && !loud && row.kind !== 0) folded += 1;
    else rows.push(row);
  }
  rows.sort(ORDERS[view.sort]);
  return { rows, folded };
}

// An element with properties and children; strings become text.
function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'class') made.className = value;
    else if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== ''));
  return made;
}

const seconds = (ms) =>
  ms < 10 ? `${ms} ms`
    : ms < 60_000 ? `${(ms / 1000).toFixed(ms < 1000 ? 2 : 1)} s`
      : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;
