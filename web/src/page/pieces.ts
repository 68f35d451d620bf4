/** The pieces, drawn for this project: one outline each in a square of 45 units. */

import type { PieceKind, Seat } from '../client';

const SVG = 'http://www.w3.org/2000/svg';

const OUTLINES: Readonly<Record<PieceKind, string>> = {
  pawn: 'M22.5 9a5.500 5.500 0 0 1 3.600 9.700c2.600 1.500 4.400 4.200 4.400 7.300h-3.200c.8 4 3.200 6.500 5.700 8.500V38H12v-3.500c2.500-2 4.900-4.500 5.700-8.500h-3.200c0-3.100 1.800-5.800 4.400-7.300A5.500 5.500 0 0 1 22.500 9z',
  rook: 'M10.500 8.500h5.500v4h4v-4h5v4h4v-4h5.500V17L31 20v10.500l3.500 3.500v4h-24v-4l3.500-3.500V20l-3.500-3z',
  bishop:
    'M22.500 5.500a2.600 2.600 0 0 1 1.700 4.600c4 2.600 7.300 7.200 7.300 11.900 0 3-1.500 5.500-4 7l1.300 4.500H34.500V38h-24v-4.500h5.700l1.300-4.500c-2.500-1.500-4-4-4-7 0-4.700 3.300-9.300 7.300-11.900a2.600 2.600 0 0 1 1.700-4.600zM22.500 15v9M18.500 19h8',
  knight:
    'M13.500 38c0-7.500 2.500-11.500 7-15.500-3 .5-5 1.800-6.800 4.300L9 24.300c1-6.300 4.200-11.500 9.300-14.300l.7-4.500 4.200 3.700C30.500 11 34.500 19 34.500 28v10zM18.800 15.200l1.600-.6',
  queen: 'M8 12.500l6.500 8.500L16 9.500l4.500 10L22.500 7l2 12.500 4.500-10L30.500 21l6.500-8.500-3.500 18V38h-22v-7.500zM12 30.500h21',
  king: 'M21 5h3v3h3v3h-3v4.500c6-3.300 12.500-1.500 12.500 4.500 0 4-3 7-5.500 10.500V38H14v-7.500C11.500 27 8.500 24 8.500 20c0-6 6.500-7.800 12.500-4.500V11h-3V8h3zM14 30.500h17',
};

/** A drawing for the eye only: the square's label says the same in words. */
export function pieceDrawing(side: Seat, kind: PieceKind): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 45 45');
  svg.setAttribute('class', `drawing ${side}`);
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', OUTLINES[kind]);
  svg.append(path);
  return svg;
}
