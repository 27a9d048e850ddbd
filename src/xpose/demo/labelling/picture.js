// What Gradio lacks: marks that can be dragged, zooming with the wheel, and keys that press buttons.
const KEYS = { Enter: 'accept', ArrowLeft: 'previous', ArrowRight: 'next', z: 'undo', h: 'hidden', v: 'absent',
  n: 'add_object', Delete: 'remove_object', Backspace: 'remove_object', Escape: 'deselect' };
const STILL = 4;  // pixels; a pointer that moves less clicks
let view = null, picture = null, held = null;

const svg = () => element.querySelector('svg');
const whole = () => svg().getAttribute('viewBox').split(' ').map(Number);
const at = (event) => {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg().getScreenCTM().inverse());
  return { x, y };
};

// The size of a pixel of the screen, so that numbers keep their size when the picture is zoomed.
const scale = () => svg()?.style.setProperty('--pixel', 1 / svg().getScreenCTM().a);
new ResizeObserver(scale).observe(element);

// A new drawing shows the whole picture; keep the zoom as long as it is the same picture.
const drawn = () => {
  if (!svg()) return;
  if (svg().dataset.picture !== picture) {
    picture = svg().dataset.picture;
    view = null;
    new Image().src = svg().dataset.following;
  }
  if (view) svg().setAttribute('viewBox', view.join(' '));
  scale();
};
watch('value', drawn);
drawn();

element.addEventListener('pointerdown', (event) => {
  if (event.button !== 0 || !svg()?.contains(event.target)) return;
  held = { mark: event.target.closest('.mark'), event, start: whole(), moved: false };
  element.setPointerCapture(event.pointerId);
  event.preventDefault();
  document.activeElement?.blur();  // so that keys reach the page
});

element.addEventListener('pointermove', (event) => {
  if (!held) return;
  held.moved ||= Math.hypot(event.clientX - held.event.clientX, event.clientY - held.event.clientY) > STILL;
  if (!held.moved) return;
  if (held.mark) {
    const { x, y } = at(event);
    held.mark.setAttribute('transform', `translate(${x} ${y})`);
  } else if (view) {
    const pixel = 1 / svg().getScreenCTM().a, [left, top, width, height] = held.start;
    view = [left - (event.clientX - held.event.clientX) * pixel, top - (event.clientY - held.event.clientY) * pixel,
      width, height];
    drawn();
  }
});

element.addEventListener('pointerup', (event) => {
  if (!held) return;
  const { mark, moved } = held;
  held = null;
  const point = mark ? { object: Number(mark.dataset.object), name: mark.dataset.name } : {};
  if (moved ? mark : !mark) Object.assign(point, at(event));
  if (mark || !moved) trigger('select', { index: point });
});
element.addEventListener('pointercancel', () => { held = null; });

element.addEventListener('wheel', (event) => {
  if (!svg()) return;
  event.preventDefault();
  const { x, y } = at(event), factor = Math.exp(event.deltaY * 0.002), [left, top, width, height] = whole();
  const full = svg().querySelector('image').width.baseVal.value;
  if (width * factor >= full) {
    const image = svg().querySelector('image');
    view = null;
    svg().setAttribute('viewBox', `0 0 ${full} ${image.height.baseVal.value}`);
    scale();
  } else if (width * factor > full / 40) {
    view = [x - (x - left) * factor, y - (y - top) * factor, width * factor, height * factor];
    drawn();
  }
}, { passive: false });

document.addEventListener('keydown', (event) => {
  if (event.repeat) return;
  const field = event.target.matches('textarea, select, input:not([type=radio], [type=checkbox])');
  const button = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (field || !button || event.altKey || event.metaKey || (event.ctrlKey && button !== 'undo')) return;
  event.preventDefault();
  document.getElementById(button).click();
});
