/** Owns every text of the interface, in English. A translation is a file with the same shape. */

/** `1 study`, `2,000 studies`. */
const count = (n: number, one: string, many: string): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

export const en = {
  nav: {
    label: 'Pages',
    skip: 'Skip to the content',
    studies: 'Studies',
    upload: 'Upload',
    query: 'Query / retrieve',
    routing: 'Routing',
    modalities: 'Destinations',
    jobs: 'Jobs',
    changes: 'Changes',
    system: 'System',
    open: 'Show the menu',
    light: 'Light',
    dark: 'Dark',
    automatic: 'As the system',
    theme: 'Colours',
    logout: 'Sign out',
    signedIn: (user: string) => `Signed in as ${user}`,
    readOnly: 'read-only',
    apiDocs: 'REST API',
  },
  login: {
    title: 'Sign in to Isen',
    user: 'Name',
    password: 'Password',
    remember: 'Stay signed in on this device',
    submit: 'Sign in',
  },
  errors: {
    title: 'That did not work',
    retry: 'Try again',
    dismiss: 'Dismiss',
    unknownPage: 'There is no page at this address',
    unknownPageHint: 'It may have been mistyped, or what it showed has been deleted.',
    toStudies: 'Go to the studies',
    /** What happened and what to do, by HTTP status; `said` are the server's words. */
    advice: (status: number, said: string): string => {
      const words = said === '' ? '' : ` The server says: ${said}.`;
      switch (status) {
        case 0:
          return 'The server does not answer. Check that it runs and that the network reaches it, then try again.';
        case 400:
          return `The server did not understand this.${words} Check what was entered.`;
        case 401:
          return 'You are not signed in, or the name or password is wrong.';
        case 403:
          return 'You may not do this: your account or the server is read-only.';
        case 404:
          return `This is not there (any more).${words} It may have been deleted meanwhile.`;
        case 409:
          return `Somebody else changed this meanwhile.${words} Reload the page, then try again.`;
        case 413:
          return 'This is larger than the server takes. An administrator can raise MaximumRequestBodySizeMB.';
        case 415:
          return 'This cannot be shown as a picture.';
        case 503:
          return 'The server is busy just now. Try again in a moment.';
        case 507:
          return 'The storage is full. Delete what is not needed, or ask an administrator for space.';
        default:
          return `The server could not do this (HTTP ${status}).${words}`;
      }
    },
  },
  common: {
    loading: 'Loading…',
    cancel: 'Cancel',
    close: 'Close',
    save: 'Save',
    delete: 'Delete',
    copy: 'Copy',
    copied: 'Copied',
    search: 'Search',
    more: 'More',
    add: 'Add',
    edit: 'Edit',
    none: '—',
    patients: (n: number) => count(n, 'patient', 'patients'),
    studies: (n: number) => count(n, 'study', 'studies'),
    series: (n: number) => count(n, 'series', 'series'),
    instances: (n: number) => count(n, 'instance', 'instances'),
    selected: (n: number) => `${n.toLocaleString('en')} selected`,
  },
  viewer: {
    title: 'Viewer',
    label: 'Images',
    back: 'Back to the study',
    tools: 'Tools',
    seriesStrip: 'Series of this study',
    showSeries: 'Show the series',
    overlay: 'Text over the images',
    help: 'Keyboard and mouse',
    openIn: 'Open in',
    series: (number: string, description: string) =>
      [number === '' ? '' : `Series ${number}`, description].filter((part) => part !== '').join(' · ') || 'Series',
    images: (n: number) => count(n, 'image', 'images'),
    notPicture: (modality: string) => `${modality === '' ? 'Something' : modality} that is not shown as images`,
    view: (number: number) => `Viewport ${number}`,
    imageOf: (index: number, n: number) => `Image ${index} of ${n}`,
    position: (index: number, n: number) => `${index} / ${n}`,
    slider: 'Image',
    loading: (loaded: number, n: number) => `${loaded} of ${n} loaded`,
    empty: 'Choose a series, or drag one here',
    noSeries: 'This study has no series',
    noPictures: 'This series has no images.',
    noPicturesLink: 'See what it holds',
    level: (center: string, width: string) => `C ${center}  W ${width}`,
    zoom: (percent: string) => `Zoom ${percent} %`,
    location: (mm: string) => `Position ${mm} mm`,
    thickness: (mm: string) => `Thickness ${mm} mm`,
    inverted: 'Inverted',
    born: (date: string) => `born ${date}`,
    noSpacing: 'No pixel spacing: distances in px',
    detectorSpacing: 'Distances on the detector',
    onDetector: 'on the detector',
    number: (value: number) =>
      value.toLocaleString('en', { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 1, useGrouping: false }),
    pixelAt: (column: number, row: number) => `column ${column}, row ${row}`,
    mean: (value: string) => `Mean ${value}`,
    deviation: (value: string) => `SD ${value}`,
    range: (least: string, most: string) => `${least} … ${most}`,
    area: (value: string) => `Area ${value}`,
    window: 'Window',
    pan: 'Pan',
    zoomTool: 'Zoom',
    scroll: 'Scroll',
    crosshairs: 'Crosshairs',
    length: 'Length',
    angle: 'Angle',
    rectangle: 'Rectangle',
    ellipse: 'Ellipse',
    probe: 'Probe',
    clear: 'Remove measurements',
    clearShort: 'Clear',
    invert: 'Invert',
    rotate: 'Turn right',
    rotateShort: 'Turn',
    rotateBack: 'Turn left',
    flipHorizontal: 'Flip left and right',
    flipVertical: 'Flip top and bottom',
    flipShort: 'Flip',
    reset: 'Reset',
    play: 'Play',
    pause: 'Pause',
    rate: 'Images per second',
    rateOf: (n: number) => `${n}/s`,
    layout: 'Layout',
    layouts: { '1x1': 'One', '1x2': 'Two side by side', '2x1': 'Two, one above the other', '2x2': 'Four' },
    mpr: 'Planes',
    mprLong: 'Axial, coronal and sagittal planes',
    planes: { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' },
    noPlanes: {
      few: 'This series has too few slices for other planes.',
      colour: 'Colour images cannot be cut in other planes.',
      planes: 'The images of this series are not parallel slices of one volume.',
      sizes: 'The images of this series have different sizes.',
      uneven: 'The slices of this series are not evenly spaced, so other planes would be distorted.',
      webgl: 'This browser has no WebGL, which other planes need. Turn hardware acceleration on, or use another browser.',
      memory: 'This series is larger than the memory that the viewer may use on this device.',
    },
    preset: 'Window presets',
    presetOther: 'Own window',
    presets: {
      ofImage: (number: number, n: number) => (n > 1 ? `Of the image (${number})` : 'Of the image'),
      softTissue: 'CT soft tissue',
      lung: 'CT lung',
      bone: 'CT bone',
      brain: 'CT brain',
      liver: 'CT liver',
      mediastinum: 'CT mediastinum',
      angio: 'CT angiography',
    },
    keys: {
      images: 'Images',
      tools: 'Tools',
      picture: 'Picture',
      viewports: 'Viewports',
      mouse: 'Mouse and touch',
      next: 'Next, previous image',
      tens: 'Ten images on, back',
      ends: 'First, last image',
      otherSeries: 'Next, previous series',
      play: 'Play, pause',
      zoom: 'Zoom in, out',
      pan: 'Move the picture',
      width: 'Window narrower, wider',
      center: 'Window darker, brighter',
      presets: 'Window presets',
      active: 'Next viewport',
      help: 'This help',
      deleteOne: 'Remove the selected measurement',
      leftButton: 'Left button, one finger',
      leftButtonDoes: 'The chosen tool',
      middleButton: 'Middle button',
      rightButton: 'Right button, two fingers',
      wheel: 'Wheel, three fingers',
      wheelDoes: 'Next, previous image',
    },
  },
};
