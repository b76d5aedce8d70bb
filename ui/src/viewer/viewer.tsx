/** Owns the viewer: the pictures of a study in viewports. */

/** The viewer of a study, begun at a series where one is given. */
export function Viewer({ studyId, seriesId }: { readonly studyId: string; readonly seriesId: string | undefined }) {
  return (
    <p>
      {studyId} {seriesId}
    </p>
  );
}
