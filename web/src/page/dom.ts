/** Building elements without a framework. */

type Child = Node | string;

interface Props {
  readonly class?: string;
  /** The hook of the browser tests; all of them are listed in web/README.md. */
  readonly testId?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly onClick?: () => void;
}

/** One element with its attributes and children; text is set as text, never as markup. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (props.class !== undefined) element.className = props.class;
  if (props.testId !== undefined) element.dataset.testid = props.testId;
  for (const [name, value] of Object.entries(props.attributes ?? {})) element.setAttribute(name, value);
  if (props.onClick !== undefined) element.addEventListener('click', props.onClick);
  element.append(...children);
  return element;
}

export function button(label: string, testId: string, onClick: () => void, cssClass = ''): HTMLButtonElement {
  return el('button', { class: cssClass, testId, onClick, attributes: { type: 'button' } }, label);
}

/** A labelled choice; `value` of the element is one of the keys given. */
export function select(
  label: string,
  testId: string,
  options: readonly (readonly [value: string, text: string])[],
): { readonly field: HTMLLabelElement; readonly input: HTMLSelectElement } {
  const input = el('select', { testId });
  for (const [value, text] of options) input.append(el('option', { attributes: { value } }, text));
  return { field: el('label', { class: 'field' }, label, input), input };
}

export function textInput(
  label: string,
  testId: string,
  attributes: Readonly<Record<string, string>>,
): { readonly field: HTMLLabelElement; readonly input: HTMLInputElement } {
  const input = el('input', { testId, attributes: { type: 'text', ...attributes } });
  return { field: el('label', { class: 'field' }, label, input), input };
}

/** Writes only what changed, so that a live region does not repeat itself. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
