"""Key, click and wheel events for widgets made of core ipywidgets, which have none.

A line of JavaScript inside the widget writes events into a hidden text field, which the kernel reads; nothing is
installed in the browser. In a front end that does not run it, buttons and sliders have the same functions.
"""

import html
import json
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

# Events are numbered and the last few sent together, because a front end sends only the newest of fast changes; on a
# busy machine it may drop that one, too, so they are sent once more.
SCRIPT = """
const root = this.closest('.NAME'), field = root.querySelector('.NAME-events input');
const view = Math.random().toString(36).slice(2), keys = KEYS;
let log = [], count = 0, again;
const tell = () => {
  field.value = JSON.stringify([view, log, Date.now()]);
  field.dispatchEvent(new Event('input', {bubbles: true}));
};
const send = (...event) => {
  log = [...log, [++count, ...event]].slice(-50);
  tell();
  clearTimeout(again);
  again = setTimeout(tell, 700);
};
const plane = node => node.tagName == 'IMG' && /motors-plane-(\\d)/.exec(node.className)?.[1];
root.tabIndex = 0;
root.dataset.lmSuppressShortcuts = 'true';
root.addEventListener('keydown', event => {
  event.stopPropagation();
  const node = event.target, typed = node.matches('input:not([type=checkbox]), textarea');
  const slides = node.closest('.noUi-target') && /^(Arrow|Page)/.test(event.key);
  if (typed || slides || event.ctrlKey || event.metaKey || event.altKey || !keys.includes(event.key)) return;
  event.preventDefault();
  send('key', event.key);
});
root.addEventListener('click', event => {
  const node = event.target, number = plane(node);
  if (!number) return;
  const box = node.getBoundingClientRect();
  root.focus({preventScroll: true});
  send('click', +number, (event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width);
});
root.addEventListener('wheel', event => {
  const number = plane(event.target);
  if (!number || !root.contains(document.activeElement)) return;
  event.preventDefault();
  send('wheel', +number, Math.sign(event.deltaY));
}, {passive: false});
"""


def listen(children: Iterable[Any], keys: Iterable[str], handle: Callable[..., object]) -> Any:
    """Return a column of widgets that reports its events to `handle`; no key in it reaches the notebook.

    `children` are core widgets; images among them of class `motors-plane-<k>` report clicks and the wheel. `keys` have
    the names that browsers give them, such as "a" or "ArrowUp"; letters typed into a field are not reported. `handle`
    is called with "key" and its name; with "click", k and the position, down and right in [0, 1]; with "wheel", k and
    +1 or -1. The wheel scrolls the page unless the widget has been clicked before.
    """
    import ipywidgets

    name, seen = f"motors-{uuid4().hex[:8]}", {}
    field = ipywidgets.Text(continuous_update=True, layout={"display": "none"}).add_class(f"{name}-events")

    def changed(change: dict[str, Any]) -> None:
        view, log, *_ = json.loads(change["new"])
        for number, *event in log:
            if number > seen.get(view, 0):
                seen[view] = number
                handle(*event)

    field.observe(changed, "value")
    script = html.escape(SCRIPT.replace("NAME", name).replace("KEYS", json.dumps(list(keys))))
    line = f'<img alt="" src="data:," style="display: none" onerror="{script}">'
    hidden = ipywidgets.HTML(line, layout={"height": "0", "margin": "0"})
    return ipywidgets.VBox([*children, field, hidden]).add_class(name)
