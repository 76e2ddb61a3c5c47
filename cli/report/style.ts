/** The look of the page: light and dark as the reader has it, one column on a phone, ink and no ground on paper. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f5f6f8; --line: #d9dde3; --ink: #1b1f26; --quiet: #5a6472;
  --good: #1a7f4b; --fair: #8a6100; --bad: #c0322b; --info: #0b62a8;
  --p0: #3b6fb5; --p1: #d9822b; --p2: #6b9e78; --p3: #8e63a8; --p4: #c4574f; --p5: #7a7f87;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171c; --panel: #1d2229; --line: #343b46; --ink: #e7eaee; --quiet: #9aa5b3;
    --good: #57c98a; --fair: #e0b04a; --bad: #ff8078; --info: #6cb6f5;
    --p0: #6f9fe0; --p1: #eca45c; --p2: #8cc29a; --p3: #b58fd0; --p4: #e58079; --p5: #a3a9b2;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 58rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .5rem; }
h2 { font-size: 1rem; margin: 2rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { margin: .25rem 0; }
ul, ol, dl, figure { margin: 0; padding: 0; list-style: none; }
code { font: .875em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.quiet, dt, figcaption, time { color: var(--quiet); font-size: .875rem; }
.lead { font-size: 1.05rem; }
.badge {
  display: inline-block; padding: .1rem .6rem; border: 1.5px solid; border-radius: 1rem;
  font-weight: 600; font-size: .9rem; margin-right: .5rem;
}
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); } .info { color: var(--info); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); gap: .75rem 1.5rem; }
.facts dd, .known dd { margin: 0; }
figure + figure { margin-top: 1.25rem; }
svg { display: block; width: 100%; height: 1.75rem; margin: .25rem 0; }
.ground { fill: var(--panel); } .tick { fill: var(--ink); }
.p0 { fill: var(--p0); background: var(--p0); } .p1 { fill: var(--p1); background: var(--p1); }
.p2 { fill: var(--p2); background: var(--p2); } .p3 { fill: var(--p3); background: var(--p3); }
.p4 { fill: var(--p4); background: var(--p4); } .p5 { fill: var(--p5); background: var(--p5); }
.waits { fill: var(--p5); background: var(--p5); } .works { fill: var(--p0); background: var(--p0); }
.open { fill: var(--p1); background: var(--p1); }
.s-open { fill: var(--p4); background: var(--p4); } .s-half-open { fill: var(--p1); background: var(--p1); }
.s-confirming { fill: var(--p3); background: var(--p3); } .s-closed { fill: var(--p2); background: var(--p2); }
.scale .panel { margin-top: 1rem; }
.panel figcaption { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; align-items: center; }
.key { display: inline-flex; align-items: center; }
.key .swatch { width: 1.1rem; margin-right: .4rem; }
.plot { display: grid; grid-template-columns: 3rem 1fr; gap: 0 .5rem; margin-top: .4rem; }
.plot svg { height: 11rem; margin: 0; overflow: visible; }
.panel + .panel .plot svg { height: 7rem; }
.plot path { fill: none; stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.scale-y, .scale-x { display: flex; justify-content: space-between; color: var(--quiet); font-size: .8rem; line-height: 1; font-variant-numeric: tabular-nums; }
.scale-y { flex-direction: column; text-align: right; margin: -.4rem 0; overflow-wrap: normal; white-space: nowrap; }
.scale-x { grid-column: 2; padding-top: .4rem; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .area { stroke: none; fill-opacity: .22; }
.plot .area.backlog, .plot .area.latency, .swatch.backlog, .swatch.latency { fill: var(--p0); background: var(--p0); }
.plot .area.ready, .swatch.ready { fill: var(--p2); background: var(--p2); }
.plot .edge.backlog, .plot .edge.latency { stroke: var(--p0); } .plot .edge.ready { stroke: var(--p2); }
.plot .line.forecast { stroke: var(--p1); stroke-dasharray: 5 4; }
.plot .line.desired { stroke: var(--p3); stroke-width: 2.25; }
.swatch.line { height: 0; border-radius: 0; border-top: 2.5px solid var(--p3); }
.swatch.line.forecast { border-top: 2.5px dashed var(--p1); }
.plot .mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 1 3; }
.plot .look { fill: transparent; } .plot .look:hover { fill: var(--ink); fill-opacity: .12; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .9rem; }
.swatch { display: inline-block; width: .75rem; height: .75rem; border-radius: 2px; margin-right: .35rem; }
.timeline > li { display: grid; grid-template-columns: 5rem 6rem 1fr; gap: 0 1rem; padding: .45rem 0; border-bottom: 1px solid var(--line); }
.timeline > li > :nth-child(n + 4) { grid-column: 3; }
.part { font-size: .8rem; font-weight: 600; color: var(--quiet); padding-top: .1rem; }
.part.change, .part.held, .part.released { color: var(--fair); }
.part.found { color: var(--info); }
.exact { margin-top: .25rem; padding: .35rem .6rem; border-left: 3px solid var(--line); background: var(--panel); font-size: .875rem; }
.exact b { font-weight: 600; }
.known { display: grid; grid-template-columns: max-content 1fr; gap: 0 .75rem; font-size: .875rem; }
.held > li + li { margin-top: 1rem; }
.plan { list-style: decimal; padding-left: 1.5rem; }
footer { margin-top: 2.5rem; color: var(--quiet); font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding-top: 1rem; }
  .timeline > li { grid-template-columns: max-content 1fr; }
  .timeline > li > :nth-child(n + 3) { grid-column: 1 / -1; }
  .known { grid-template-columns: 1fr; }
}
@media print {
  :root {
    color-scheme: light;
    --ground: #ffffff; --panel: #f1f2f4; --line: #c4c9d0; --ink: #000000; --quiet: #444444;
    --good: #12653a; --fair: #6e4e00; --bad: #a02019; --info: #084d85;
    --p0: #3b6fb5; --p1: #d9822b; --p2: #6b9e78; --p3: #8e63a8; --p4: #c4574f; --p5: #7a7f87;
  }
  @page { margin: 15mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  svg, .swatch, .exact { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  li, figure { break-inside: avoid; }
  h2 { break-after: avoid; }
}
`;
