/** Owns the room of the viewer: its viewports and which one is meant, the tool in hand, the series of the study, and measurements. */

import { batch, signal } from '@preact/signals';
import { get } from '../api.ts';
import { notifyError } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import type { Tags } from './info.ts';
import { openStage, PLANES, type Stage } from './stage.ts';
import type { Tool } from './tools.ts';
import { View } from './view.ts';

/** How many viewports, in columns and rows. */
export const LAYOUTS = {
  '1x1': { columns: 1, rows: 1 },
  '1x2': { columns: 2, rows: 1 },
  '2x1': { columns: 1, rows: 2 },
  '2x2': { columns: 2, rows: 2 },
} as const;

export type Layout = keyof typeof LAYOUTS;

/** A series of the study, as the server lists it. */
export interface Series {
  readonly ID: string;
  readonly Instances: readonly string[];
  readonly MainDicomTags: Tags;
}

/** Modalities whose series hold no images (PS3.3 §C.7.3.1.1.1). */
const NO_IMAGES = new Set([
  'SR',
  'PR',
  'KO',
  'DOC',
  'AU',
  'ECG',
  'EPS',
  'HD',
  'RTPLAN',
  'RTSTRUCT',
  'RTRECORD',
  'REG',
  'FID',
  'RWV',
  'PLAN',
  'ANN',
]);

/** The modality of a series, `''` where it says none. */
export const modalityOf = (series: Series): string => tagOf(series, 'Modality');

/** A main tag of a series as text, `''` where it has none. */
export function tagOf({ MainDicomTags }: Series, keyword: string): string {
  const value = MainDicomTags[keyword];
  return typeof value === 'string' ? value : '';
}

/** Whether the series may hold images. */
export const mayShow = (series: Series): boolean => !NO_IMAGES.has(modalityOf(series));

/** The room of one study. */
export class Room {
  readonly study: string;
  readonly series = signal<readonly Series[] | undefined>(undefined);
  readonly error = signal<unknown>(undefined);
  readonly layout = signal<Layout>('1x1');
  /** The viewports that are shown. */
  readonly views = signal<readonly View[]>([new View()]);
  readonly active = signal<View>(this.views.value[0] as View);
  readonly tool = signal<Tool>('window');
  /** Whether the planes of a volume are shown. */
  readonly planes = signal(false);
  readonly preparing = signal(false);
  readonly overlay = signal(true);
  readonly strip = signal(true);
  readonly help = signal(false);
  /** Why the planes were not shown. */
  readonly notice = signal('');
  /** What the planes were made from, with the viewports to come back to. */
  #before: { readonly views: readonly View[]; readonly active: View; readonly tool: Tool } | undefined;
  readonly #closed = new AbortController();
  #stage: Stage | undefined;

  constructor(study: string) {
    this.study = study;
  }

  /** Draws with a renderer, which says what comes into its memory. */
  connect(stage: Stage): void {
    const counted = (): void => {
      for (const view of this.views.value) view.recount();
    };
    const failed = (imageId: string, thrown: unknown): void => {
      for (const view of this.views.value) view.failed(imageId, thrown);
    };
    stage.follow(counted, failed, this.#closed.signal);
    this.#stage = stage;
  }

  /** Fetches the series of the study, and opens one: `first`, else the first that has images. */
  async open(first: string | undefined): Promise<void> {
    const opening = first === undefined ? undefined : this.active.value.open(first);
    try {
      const listed = await get<Series[]>(`studies/${this.study}/series`, {
        query: { expand: true },
        signal: this.#closed.signal,
      });
      const numberOf = ({ MainDicomTags }: Series): number => Number(MainDicomTags['SeriesNumber'] ?? Number.MAX_VALUE);
      this.series.value = listed.toSorted((a, b) => numberOf(a) - numberOf(b) || a.ID.localeCompare(b.ID));
    } catch (thrown) {
      if (!this.#closed.signal.aborted) this.error.value = thrown;
    }
    const [head] = this.shown();
    if (opening === undefined && head !== undefined) await this.active.value.open(head.ID);
    await opening;
  }

  /** Whether it could not be opened: nobody was signed in then, say. */
  hasFailed(): boolean {
    return this.error.value !== undefined || this.active.value.error.value !== undefined;
  }

  /** Takes leave: nothing is fetched any more. */
  close(): void {
    this.#closed.abort();
    this.clear();
    const stack = this.active.value.stack.value;
    if (this.planes.value && stack !== undefined) this.#stage?.close(stack);
  }

  /** The series that may have images. */
  shown(): readonly Series[] {
    return (this.series.value ?? []).filter(mayShow);
  }

  /** Opens a series in the viewport that is meant. */
  choose(series: string, view = this.active.value): void {
    if (this.planes.value) {
      this.leavePlanes();
      void this.active.value.open(series).then(() => this.showPlanes());
      return;
    }
    this.active.value = view;
    void view.open(series);
  }

  /** Opens the series that stands so many places after the one that is shown. */
  chooseNext(by: number): void {
    const all = this.shown();
    const at = all.findIndex(({ ID }) => ID === this.active.value.series.value);
    const next = all[Math.max(0, Math.min(all.length - 1, at + by))];
    if (next !== undefined && next.ID !== this.active.value.series.value) this.choose(next.ID);
  }

  /** Shows as many viewports as the layout has; new ones open the series that are shown nowhere yet. */
  arrange(layout: Layout): void {
    if (this.planes.value) this.leavePlanes();
    const { columns, rows } = LAYOUTS[layout];
    const active = this.active.value;
    const fitting = this.views.value.slice(0, columns * rows);
    const kept = fitting.includes(active) ? fitting : [active, ...fitting.slice(1)];
    const used = new Set(kept.map((view) => view.series.value));
    const unused = this.shown().filter(({ ID }) => !used.has(ID));
    const added = Array.from({ length: columns * rows - kept.length }, () => new View());
    batch(() => {
      this.layout.value = layout;
      this.views.value = [...kept, ...added];
    });
    // They have elements once the page has drawn them.
    requestAnimationFrame(() => {
      for (const [index, view] of added.entries()) {
        const series = unused[index];
        if (series !== undefined) void view.open(series.ID);
      }
    });
  }

  /** Means the next viewport. */
  activateNext(): void {
    const views = this.views.value;
    this.active.value = views[(views.indexOf(this.active.value) + 1) % views.length] as View;
  }

  /** Gives the first pointer a tool. */
  use(tool: Tool): void {
    this.cancel();
    this.tool.value = tool;
    openStage().then((stage) => stage.use(tool, this.planes.value ? 'planes' : 'stacks'), notifyError);
  }

  /** Shows the three planes of the volume that the series is, or says why not. */
  async showPlanes(): Promise<void> {
    const { active } = this;
    const stack = active.value.stack.value;
    if (stack === undefined || this.planes.value || this.preparing.value) return;
    this.preparing.value = true;
    this.notice.value = '';
    try {
      const stage = await openStage();
      const obstacle = await stage.obstacle(stack);
      if (obstacle !== undefined) {
        this.notice.value = t.viewer.noPlanes[obstacle];
        return;
      }
      const level = active.value.level.value;
      this.#before = { views: this.views.value, active: active.value, tool: this.tool.value };
      const views = PLANES.map((plane) => new View(plane));
      batch(() => {
        this.planes.value = true;
        this.views.value = views;
        this.active.value = views[0] as View;
        this.tool.value = 'crosshairs';
      });
      // They have elements once the page has drawn them.
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      await stage.cut(
        views.map(({ id }) => id),
        stack,
        (count) => {
          for (const view of views) view.loaded.value = count;
        },
      );
      stage.use('crosshairs', 'planes');
      for (const view of views) {
        view.adopt(stack, stage.loading.loaded(stack));
        if (level !== undefined) view.setLevel(level);
      }
    } catch (thrown) {
      this.leavePlanes();
      notifyError(thrown);
    } finally {
      this.preparing.value = false;
    }
  }

  /** Goes back to the images as they are. */
  leavePlanes(): void {
    const before = this.#before;
    if (before === undefined) return;
    this.#before = undefined;
    const stack = before.active.stack.value;
    batch(() => {
      this.planes.value = false;
      this.views.value = before.views;
      this.active.value = before.active;
    });
    this.use(before.tool === 'crosshairs' ? 'window' : before.tool);
    // The planes have left the page by then: crosshairs look at their volume until they do.
    requestAnimationFrame(() => {
      for (const view of before.views) {
        const series = view.series.value;
        if (series !== undefined) void view.open(series, view.index.value);
      }
      if (stack !== undefined) this.#stage?.close(stack);
    });
  }

  /** Gives up what is just being drawn. */
  cancel(): void {
    for (const view of this.views.value) view.cancel();
  }

  /** Removes all measurements. */
  clear(): void {
    this.cancel();
    this.#stage?.clear();
    this.#redraw();
  }

  /** Removes the measurements that are selected; the last one where none is. */
  clearSelected(): void {
    this.cancel();
    this.#stage?.clearSelected();
    this.#redraw();
  }

  #redraw(): void {
    for (const view of this.views.value) view.redraw();
  }
}
