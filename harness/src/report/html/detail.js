// Everything known about one cell, in a dialog.

const dialog = document.getElementById('detail');
let opener = null;

function openCell(row, kernel) {
  if (!dialog.open) opener = document.activeElement;
  view.cell = cellName(row, kernel);
  keepFragment();
  dialog.replaceChildren(...content(row, kernel));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  document.getElementById('detail-title').focus();
}

dialog.addEventListener('close', () => {
  // Unless a link to another cell has been followed in the meantime.
  const linked = new URLSearchParams(location.hash.slice(1)).get('cell');
  if (linked === view.cell) {
    view.cell = '';
    keepFragment();
  }
  if (opener?.isConnected) {
    if (opener.matches('button.cell')) activate(opener);
    else opener.focus();
  }
});
// A click beside the dialog closes it.
dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });

// A text of a guest, if there is one.
function block(title, text, open = true) {
  if (!text) return undefined;
  const lines = text.split('\n').length;
  return el('details', { open }, el('summary', {}, title, ' ', el('small', {}, counted(lines, 'line'))),
    el('pre', { tabindex: '0', dir: 'ltr', role: 'region', 'aria-label': title }, text));
}

function facts(pairs) {
  return el('dl', {}, ...pairs.filter(([, value]) => value).flatMap(([name, value]) =>
    [el('dt', {}, name), el('dd', {}, value)]));
}

// Only a link to a web page is a link.
function link(url) {
  const plain = /^https?:\/\/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$/.test(url);
  return plain ? el('a', { href: url, rel: 'noopener noreferrer', referrerpolicy: 'no-referrer' }, url) : el('code', {}, url);
}

function command(text) {
  const pre = el('pre', { tabindex: '0', role: 'region', 'aria-label': 'command', class: 'command' }, text);
  const copy = el('button', { type: 'button', onclick: () => {
    getSelection().selectAllChildren(pre);
    // Without a secure context there is no clipboard; the text is then selected.
    navigator.clipboard?.writeText(text).then(() => { copy.textContent = 'Copied'; }, () => {});
  } }, 'Copy');
  return el('div', { class: 'again' }, pre, copy);
}

function content(row, kernel) {
  const cell = row.c[kernel];
  const detail = detailOf(row, kernel);
  const word = cell < 0 ? 'no verdict' : CLASSES[classOf(cell)];
  const where = vmOf(row, kernel);
  const image = run.kernels[kernel];
  const suite = run.suites[row.s];
  const change = changeOf(row, kernel);
  const was = change && change[1] >= 0
    ? `${CHANGES[change[0]]}; before: ${CLASSES[change[1]]}, ${seconds(change[2])}` : change && CHANGES[change[0]];
  const shown = columns();
  const neighbour = (step) => {
    const at = table.rows.indexOf(row);
    const next = at < 0 ? undefined : table.rows[at + step];
    return next && (() => openCell(next, kernel));
  };
  const sideways = (step) => {
    const next = shown[shown.indexOf(kernel) + step];
    return shown.includes(kernel) && next !== undefined && (() => openCell(row, next));
  };
  const button = (text, label, action) =>
    el('button', { type: 'button', disabled: !action, 'aria-label': label, title: label, onclick: action || (() => {}) }, text);
  const parts = [
    el('div', { class: 'bar' },
      button('\u2190', 'kernel before', sideways(-1)), button('\u2192', 'next kernel', sideways(1)),
      button('\u2191', 'test before', neighbour(-1)), button('\u2193', 'next test', neighbour(1)),
      el('button', { type: 'button', class: 'close', onclick: () => dialog.close() }, 'Close')),
    el('h2', { id: 'detail-title', tabindex: '-1' }, el('span', { class: `mark ${cell < 0 ? 'none' : word}` }, word), ' ',
      el('bdi', {}, row.id), ' on ', el('bdi', {}, image.name)),
    detail.r ? el('p', { class: 'reason' }, el('bdi', {}, run.lines[detail.r])) : undefined,
    cell < 0 ? el('p', {}, 'This test has no verdict on this kernel: it was not selected, or the run did not reach it.') : undefined,
  ];
  if (detail.known) {
    const { result, reason, link: url } = detail.known;
    parts.push(el('p', { class: 'note' }, `Known result: ${result}. `, el('bdi', {}, reason), ' ', url ? link(url) : ''));
  }
  (detail.a || []).forEach((attempt) => parts.push(el('section', {},
    el('h3', {}, `Attempt ${attempt.n}: ${attempt.v}, ${seconds(attempt.ms)}`),
    attempt.r ? el('p', {}, el('bdi', {}, run.lines[attempt.r])) : '',
    block('Expected and found', run.texts[attempt.d]) || '', block('Output', run.texts[attempt.o], false) || '')));
  if (detail.a?.length) parts.push(el('h3', {}, 'Last attempt'));
  parts.push(
    block(word === 'lost' ? 'How the VM was lost' : 'Expected and found', run.texts[detail.d || 0]),
    block('Output', run.texts[detail.o || 0]),
    block('Console while it ran', run.texts[detail.c || 0]),
    ...(detail.k || []).map((report) => block(`The kernel reported: ${report.kind}`, run.texts[report.t])),
  );
  if (detail.l) {
    parts.push(el('p', {}, 'The VM was lost: ', el('bdi', {}, run.lines[detail.l.r]), detail.l.qmp ? `; ${detail.l.qmp}` : ''),
      block('Console', run.texts[detail.l.t]));
  }
  if (cell >= 0 && !detail.o && classOf(cell) === CLASS.pass && run.without_passes) {
    parts.push(el('p', {}, 'What it printed is in events.jsonl.'));
  }
  parts.push(
    el('h3', {}, 'Run it again'), command(againLine(row, kernel)),
    el('h3', {}, 'What ran'),
    facts([
      ['test', `${row.id} (${suite.name})`], ['case of', row.of], ['defined at', row.at],
      ['time', cell >= 0 && seconds(msOf(cell))],
      ['the guest\'s own time', detail.gms !== undefined && seconds(detail.gms)], ['since the baseline', was],
      ['rules', (detail.rules || []).join(', ')],
      ['kernel', [image.release, image.sha256 && `SHA-256 ${image.sha256}`].filter(Boolean).join(', ')],
      ['packages', image.packages.join(', ')],
      ['program', [suite.subject, suite.version && `version ${suite.version}`, suite.dialect && `tests of ${suite.dialect}`].filter(Boolean).join(', ')],
      ['VM', where && `${where.vm.n}: ${where.vm.what}`],
      ['began', where && `${seconds(where.span.starts)} after the start of the run`],
    ]));
  return parts.filter((part) => part !== undefined && part !== '');
}
