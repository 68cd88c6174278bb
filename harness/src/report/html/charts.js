// The timeline of VMs, and durations by kernel.

const SVG = 'http://www.w3.org/2000/svg';
function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
const round = (number) => Math.round(number * 100) / 100;

// The last moment of the run.
const END = Math.max(1, run.ms, ...run.vms.map((vm) => vm.ends || 0));

// One line for each VM: its boot, then its tests, coloured by verdict.
function timeline() {
  if (!run.vms.length) return undefined;
  const told = el('output', { id: 'told', for: 'vms' }, 'Point at a test, or press it.');
  const lines = run.vms.map((vm) => vmLine(vm, told));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => el('span', {}, seconds(Math.round(END * part))));
  return el('section', { 'aria-labelledby': 'timeline-title' },
    el('h2', { id: 'timeline-title' }, 'VMs over time'),
    el('div', { id: 'vms', class: 'vms' }, ...lines,
      el('div', { class: 'vm' }, el('span', {}), el('div', { class: 'ticks', 'aria-hidden': 'true' }, ...ticks))),
    el('p', { class: 'key' }, el('span', { class: 'swatch boot' }), ' boot and preparation ',
      ...CLASSES.flatMap((word) => [el('span', { class: `swatch ${word}` }), ` ${word} `])),
    el('p', {}, told),
    longest());
}

function vmLine(vm, told) {
  const spans = spansOf(vm);
  const end = vm.ends ?? END;
  const ready = Math.min(vm.ready ?? end, end);
  // One path for each class: a run of 100,000 tests has as many shapes as one of ten.
  const paths = new Map();
  const add = (word, starts, lasts) => {
    const path = `M${round((starts / END) * 1000)} 0h${Math.max(round((lasts / END) * 1000), 0.05)}v10H${round((starts / END) * 1000)}z`;
    paths.set(word, (paths.get(word) || '') + path);
  };
  add('boot', vm.starts, ready - vm.starts);
  let busy = 0;
  for (const span of spans) {
    const cell = run.tests[span.row].c[vm.k];
    add(span.retried ? 'flaky' : cell < 0 ? 'none' : CLASSES[classOf(cell)], span.starts, span.lasts);
    busy += span.lasts;
  }
  const name = `VM ${vm.n}, ${run.kernels[vm.k].name}`;
  const words = `${name}: ready after ${seconds(ready - vm.starts)}, ${counted(spans.length, 'test')} in ${seconds(busy)}, ended at ${seconds(end)}`
    + (vm.lost ? `, lost: ${vm.lost}` : '');
  const drawing = shape('svg', { viewBox: '0 0 1000 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': words },
    ...[...paths].map(([word, path]) => shape('path', { class: word, d: path })));
  const under = (event) => {
    const box = drawing.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * END;
    return spans.find((span) => span.starts <= at && at <= span.starts + span.lasts);
  };
  drawing.addEventListener('pointermove', (event) => {
    const span = under(event);
    told.textContent = span ? `${name}: ${run.tests[span.row].id}, ${seconds(span.lasts)}, from ${seconds(span.starts)}` : words;
  });
  drawing.addEventListener('click', (event) => {
    const span = under(event);
    if (span) openCell(run.tests[span.row], vm.k);
  });
  return el('div', { class: 'vm' }, el('span', { class: vm.lost ? 'lost' : '' }, el('bdi', {}, `${vm.n} ${run.kernels[vm.k].name}`)), drawing);
}

// What the run waited for, also for who cannot point.
function longest() {
  const all = run.vms.flatMap((vm) => spansOf(vm).map((span) => ({ vm, span })));
  all.sort((one, other) => other.span.lasts - one.span.lasts);
  const item = ({ vm, span }) => el('li', {}, el('button', {
    type: 'button', class: 'link', onclick: () => openCell(run.tests[span.row], vm.k),
  }, `${run.tests[span.row].id} on ${run.kernels[vm.k].name}`), ` ${seconds(span.lasts)} in VM ${vm.n}, until ${seconds(span.starts + span.lasts)}`);
  return el('details', {}, el('summary', {}, 'The longest tests'), el('ol', {}, ...all.slice(0, 15).map(item)));
}

// Upper bounds of the bars, in milliseconds.
const STEPS = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, Infinity];
const stepWord = (step) => (step === Infinity ? 'longer' : step < 1000 ? `${step / 1000} s` : `${step / 1000} s`);

function durations() {
  const columnsOf = run.kernels.map((_, kernel) => {
    const times = run.tests.map((row) => row.c[kernel])
      .filter((cell) => cell >= 0 && classOf(cell) !== CLASS.skip).map(msOf).sort((one, other) => one - other);
    const bars = STEPS.map((step, index) => times.filter((ms) => ms <= step && (index === 0 || ms > STEPS[index - 1])).length);
    return { kernel, times, bars };
  });
  if (!columnsOf.some(({ times }) => times.length)) return undefined;
  const highest = Math.max(...columnsOf.flatMap(({ bars }) => bars));
  const at = (times, part) => times.length ? seconds(times[Math.min(times.length - 1, Math.floor(times.length * part))]) : '';
  const line = ({ kernel, times, bars }) => {
    const words = bars.map((count, index) => count && `${count} up to ${stepWord(STEPS[index])}`).filter(Boolean).join(', ');
    const drawing = shape('svg', { viewBox: `0 0 ${STEPS.length * 10} 30`, preserveAspectRatio: 'none', role: 'img', 'aria-label': words || 'no test' },
      ...bars.map((count, index) => shape('rect', {
        x: index * 10 + 1, width: 8, y: 30 - round((count / highest) * 30), height: round((count / highest) * 30),
      }, shape('title', {}, `${count} up to ${stepWord(STEPS[index])}`))));
    return el('tr', {}, el('th', { scope: 'row' }, el('bdi', {}, run.kernels[kernel].name)), el('td', { class: 'plot' }, drawing),
      ...[times.length, at(times, 0.5), at(times, 0.9), times.length ? seconds(times[times.length - 1]) : '',
        seconds(times.reduce((sum, ms) => sum + ms, 0))].map((value) => el('td', {}, String(value))));
  };
  return el('section', { 'aria-labelledby': 'durations-title' },
    el('h2', { id: 'durations-title' }, 'Durations by kernel'),
    el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-labelledby': 'durations-title' },
      el('table', { class: 'durations' },
        el('thead', {}, el('tr', {}, ...['kernel', 'tests by duration, 0.1 s to 500 s and longer', 'tests', 'median', '90 %', 'longest', 'sum']
          .map((head) => el('th', { scope: 'col' }, head)))),
        el('tbody', {}, ...columnsOf.map(line)))));
}
