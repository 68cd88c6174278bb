'use strict';
// The run: reads the data block, and says what is in a cell.
//
// Every text in it may come from a guest. It reaches the page by `textContent` only; nothing here
// or in the other files makes markup of a text.

const run = JSON.parse(document.getElementById('data').textContent);
const K = run.kernels.length;
const CLASSES = run.classes;
const CLASS = Object.fromEntries(CLASSES.map((word, index) => [word, index]));
// As expected: folded away unless somebody asks for it.
const QUIET = new Set([CLASS.pass, CLASS.skip, CLASS.xfail]);
// For the comparison between kernels.
const BAD = new Set([CLASS.fail, CLASS.timeout, CLASS.lost, CLASS.error, CLASS.xfail]);
const CHANGES = run.base ? run.base.classes : [];

// A cell holds `milliseconds * 16 + class`, or -1.
const classOf = (cell) => cell % 16;
const msOf = (cell) => Math.floor(cell / 16);
const detailOf = (row, kernel) => run.details[row.n * K + kernel] || {};
const changeOf = (row, kernel) => (run.base ? run.base.cells[row.n * K + kernel] : undefined);
const suiteOf = (row) => run.suites[row.s].name;

const KINDS = ['differs between kernels', 'fails', 'flaky', 'known to fail', 'passes', 'skipped'];

// What the default order is by.
function kindOf(row) {
  let bad = 0;
  let have = 0;
  let flaky = false;
  let known = false;
  let unexpected = false;
  let passes = false;
  for (const cell of row.c) {
    if (cell < 0) continue;
    const of = classOf(cell);
    have += 1;
    bad += BAD.has(of);
    unexpected ||= !QUIET.has(of) && of !== CLASS.flaky;
    flaky ||= of === CLASS.flaky;
    known ||= of === CLASS.xfail;
    passes ||= of === CLASS.pass;
  }
  if (bad > 0 && bad < have) return 0;
  if (unexpected) return 1;
  if (flaky) return 2;
  if (known) return 3;
  return passes ? 4 : 5;
}

run.tests.forEach((row, n) => {
  row.n = n;
  row.kind = kindOf(row);
  let words = `${suiteOf(row)} ${row.id}`;
  row.longest = 0;
  // The change that matters most; they are listed in that order.
  row.change = CHANGES.length;
  row.c.forEach((cell, kernel) => {
    const change = changeOf(row, kernel);
    if (change) row.change = Math.min(row.change, change[0]);
    if (cell < 0) return;
    row.longest = Math.max(row.longest, msOf(cell));
    const { r } = detailOf(row, kernel);
    if (r) words += ` ${run.lines[r]}`;
  });
  row.words = words.toLowerCase();
});

const byName = (one, other) => one.s - other.s || compareNames(one.id, other.id) || one.n - other.n;
const compareNames = new Intl.Collator('en', { numeric: true }).compare;
// Sorting 5,000 names once is cheap, and doing so at every keystroke is not.
const inNameOrder = [...run.tests].sort(byName);
inNameOrder.forEach((row, place) => { row.place = place; });

const ORDERS = {
  kind: (one, other) => one.change - other.change || one.kind - other.kind || one.place - other.place,
  name: (one, other) => one.place - other.place,
  time: (one, other) => other.longest - one.longest || one.place - other.place,
};

// The VM in which a test ran on a kernel, and when; the last attempt counts.
let ranWhere;
function vmOf(row, kernel) {
  if (!ranWhere) {
    ranWhere = new Map();
    for (const vm of run.vms) {
      for (const span of spansOf(vm)) ranWhere.set(span.row * K + vm.k, { vm, span });
    }
  }
  return ranWhere.get(row.n * K + kernel);
}

// What a VM did: [{row, retried, starts, lasts}], in order.
function spansOf(vm) {
  if (!vm.spans) {
    vm.spans = [];
    let end = vm.starts;
    for (let at = 0; at + 2 < vm.t.length; at += 3) {
      const [row, wait, lasts] = [vm.t[at], vm.t[at + 1], vm.t[at + 2]];
      const starts = end + wait;
      vm.spans.push({ row: row < 0 ? -1 - row : row, retried: row < 0, starts, lasts });
      end = starts + lasts;
    }
  }
  return vm.spans;
}

// As a shell takes it: only words that Rust has quoted.
const againLine = (row, kernel) =>
  `${run.again.program} -k ${run.again.kernels[kernel]} -t ${row.w} ${run.again.suites[row.s]}`;
