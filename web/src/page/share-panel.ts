/** How the second player finds the game: a link, or the code to type. */

import { button, el, setText } from './dom';

/** How long "Copied" stays on the button. */
const COPIED_MS = 2_000;

export class SharePanel {
  private readonly code = el('output', { class: 'code', testId: 'share-code' });
  private readonly link = el('input', {
    testId: 'share-link',
    attributes: { type: 'text', readonly: '', 'aria-label': 'Link for your opponent' },
  });
  private readonly copy = button('Copy link', 'copy-link', () => void this.copyLink());
  readonly element = el(
    'section',
    { class: 'panel share', testId: 'share', attributes: { 'aria-label': 'Invite' } },
    el('p', {}, 'Send this link to your opponent, or tell the code ', this.code, '.'),
    el('div', { class: 'line' }, this.link, this.copy),
  );

  show(code: string | null): void {
    this.element.hidden = code === null;
    if (code === null) return;
    setText(this.code, code);
    const url = new URL('/', window.location.href);
    url.searchParams.set('join', code);
    this.link.value = url.href;
  }

  /** Outside secure contexts there is no clipboard; the old way needs the text selected. */
  private async copyLink(): Promise<void> {
    this.link.select();
    try {
      await navigator.clipboard.writeText(this.link.value);
    } catch {
      document.execCommand('copy');
    }
    setText(this.copy, 'Copied');
    setTimeout(() => setText(this.copy, 'Copy link'), COPIED_MS);
  }
}
