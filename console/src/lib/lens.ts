// A list that is higher than a browser can scroll (Firefox ends at 17.8 million pixels), looked at through a box of a height that it can.
//
// Near both ends a pixel of the box is a pixel of the list. Between them the box's place says how far in the list one is, while small
// steps go on pixel by pixel: after some way the box is moved, without what is in view, to where that place is.

/** Height of what is scrolled, at most (px). */
export const HEIGHT_MAX = 4_000_000;
/** So many times the view in one step is no step: somebody pulls the scroll bar. */
const JUMP = 4;
/** One part of so many at each end is not drawn together: there a pixel is a pixel. */
const EDGE = 16;

export class Lens {
  /** What the list is ahead of the box. */
  private base = 0;
  private top = 0;

  constructor(private readonly max = HEIGHT_MAX) {}

  height(total: number): number {
    return Math.min(total, this.max);
  }

  /** The box stands at `top`: what is in view begins at `offset`, and the box should stand at `at`. */
  moved(top: number, view: number, total: number): { offset: number; at: number } {
    const end = Math.max(0, total - view);
    const pulled = Math.abs(top - this.top) > JUMP * view;
    const offset = pulled ? this.offsetOf(top, view, total) : Math.max(0, Math.min(end, top + this.base));
    const ideal = this.place(offset, view, total);
    const edge = this.edge(view, total);
    const nearEnd = offset <= edge || offset >= end - edge;
    const off = Math.abs(top - ideal);
    return this.settle(offset, pulled || (nearEnd && off > 1) || off > edge / 2 ? ideal : top);
  }

  /** Where the box has to stand so that what is in view begins at `offset`. */
  to(offset: number, view: number, total: number): { offset: number; at: number } {
    const wanted = Math.max(0, Math.min(total - view, offset));
    return this.settle(wanted, this.place(wanted, view, total));
  }

  private settle(offset: number, at: number) {
    this.top = Math.round(at);
    this.base = offset - this.top;
    return { offset, at: this.top };
  }

  /** How much of each end that is. */
  private edge(view: number, total: number): number {
    return (this.height(total) - view) / EDGE;
  }

  private place(offset: number, view: number, total: number): number {
    const [end, way] = [total - view, this.height(total) - view];
    if (end <= way) return offset;
    const edge = way / EDGE;
    if (offset <= edge) return offset;
    if (offset >= end - edge) return way - (end - offset);
    return edge + ((offset - edge) * (way - 2 * edge)) / (end - 2 * edge);
  }

  private offsetOf(top: number, view: number, total: number): number {
    const [end, way] = [total - view, this.height(total) - view];
    if (end <= way) return top;
    const edge = way / EDGE;
    if (top <= edge) return top;
    if (top >= way - edge) return end - (way - top);
    return edge + ((top - edge) * (end - 2 * edge)) / (way - 2 * edge);
  }
}
