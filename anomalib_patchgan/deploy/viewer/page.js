"use strict";
// Drives NiiVue: three planes of the image, the heat map over it, and the controls of the page.
(async () => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const HEAT = 1;
  // NiiVue's names of its types 1 and 2 are the wrong way round: this one draws nothing below cal_min, and its
  // colours do not change when cal_min does.
  const TRANSPARENT_BELOW_MIN = 2;

  const say = (text, error = false) => {
    find("status").textContent = text;
    find("status").className = error ? "error" : "";
  };
  const fail = (reason) => say(`The slices cannot be drawn: ${reason}`, true);
  addEventListener("error", (event) => fail(event.message));
  addEventListener("unhandledrejection", (event) => fail(event.reason?.message ?? event.reason));

  // ---- the curve of slice scores, which needs no WebGL
  const drawLine = (kind, attributes) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    find("curve").append(line);
    return line;
  };
  const across = (slice) => ((slice + 0.5) / data.size) * 100;
  const upwards = (score) => 97 - 94 * score;
  const atScore = (score) => ({ x1: 0, x2: 100, y1: upwards(score), y2: upwards(score) });
  // A model that was never validated has no thresholds.
  if (data.imageThreshold !== null) drawLine("line", { class: "threshold", ...atScore(data.imageThreshold) });
  let run = [];
  data.slices.forEach((one, index) => {
    run.push([across(one.slice), upwards(one.score)]);
    // Slices that were not processed leave a gap.
    if (data.slices[index + 1]?.slice !== one.slice + 1) {
      if (run.length === 1) run.push([run[0][0] + 0.4, run[0][1]]);
      drawLine("polyline", { points: run.map((point) => point.join(",")).join(" ") });
      run = [];
    }
  });
  const marker = drawLine("line", { class: "present", x1: 0, x2: 0, y1: 0, y2: 100 });
  const highest = data.slices.reduce((best, one) => (best && best.score >= one.score ? best : one), null);
  find("highest").textContent = highest
    ? `highest: ${highest.score.toFixed(2)} in slice ${highest.slice}${data.imageThreshold === null ? "" : "; dashed: slice threshold"}`
    : "no slice was processed";

  if (!document.createElement("canvas").getContext("webgl2")) {
    fail("this browser has no WebGL 2. Use a current Firefox, Chrome, Edge or Safari with hardware acceleration.");
    return;
  }

  // ---- NiiVue
  const { Niivue, NVImage } = window.niivue;
  const nv = new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.45, 0.85, 1, 0.8],
    crosshairGap: 8,
    crosshairWidthUnit: "mm",
    fontColor: [0.9, 0.9, 0.9, 1],
    dragAndDropEnabled: false,
    dragMode: 9, // windowing
    isRadiologicalConvention: true,
    logLevel: "warn",
    multiplanarShowRender: 0, // never
    sagittalNoseLeft: true,
    showAllOrientationMarkers: true,
  });
  nv.addColormap("heat", { R: [196, 196, 255, 255], G: [30, 30, 140, 255], B: [0, 0, 0, 150], A: [0, 255, 255, 255], I: [0, 1, 128, 255] });
  nv.addColormap("mask", { R: [0, 60], G: [0, 150], B: [0, 255], A: [0, 255], I: [0, 255] });
  const read = (element, name, options) =>
    NVImage.loadFromBase64({ base64: element.textContent, name: `${name}.nii.gz`, cal_min: 0, cal_max: 1, ...options });
  const grey = { colormap: "gray", cal_max: 255 };

  const canvas = find("canvas");
  await nv.attachToCanvas(canvas);
  const sources = [...document.querySelectorAll(".image")];
  const image = await read(sources[0], "image", grey);
  const voxels = [image.img];
  const heat = await read(find("anomaly-volume"), "anomaly", { colormap: "heat" });
  heat.colormapType = TRANSPARENT_BELOW_MIN;
  let mask = null;

  // ---- controls: a slider that is dragged asks for more pictures than can be drawn, so the last one counts
  let waiting = false;
  const update = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      nv.updateGLVolume();
    });
  };
  const takeThreshold = () => {
    heat.cal_min = Number(find("threshold").value);
    find("threshold-value").textContent = heat.cal_min.toFixed(2);
    find("hidden-part").style.width = `${100 * heat.cal_min}%`;
  };
  const takeOpacity = () => {
    heat.opacity = Number(find("opacity").value);
    find("opacity-value").textContent = `${Math.round(100 * heat.opacity)} %`;
  };
  for (const [id, take] of [["threshold", takeThreshold], ["opacity", takeOpacity]]) {
    find(id).addEventListener("input", () => {
      take();
      update();
    });
  }
  const THREE_PLANES = "3";
  const [AXIAL, CORONAL, SAGITTAL] = [0, 1, 2];
  // The slice that the model saw is the large one. `axis` is NiiVue's that counts the slices, to the right, the front or
  // the top, and `backwards` says that their numbers run the other way.
  const PLANES = {
    axial: { type: AXIAL, axis: 2, backwards: false, left: [1, 0, 0], up: [0, 1, 0], next: [0, 0, 1] },
    coronal: { type: CORONAL, axis: 1, backwards: true, left: [1, 0, 0], up: [0, 0, 1], next: [0, -1, 0] },
    sagittal: { type: SAGITTAL, axis: 0, backwards: true, left: [0, 1, 0], up: [0, 0, 1], next: [-1, 0, 0] },
  };
  const plane = PLANES[data.plane];
  const [large, ...small] = [plane.type, ...[AXIAL, CORONAL, SAGITTAL].filter((type) => type !== plane.type)];
  const layOut = () => {
    const view = find("view").value;
    if (view !== THREE_PLANES) {
      nv.customLayout = null;
      nv.setSliceType(Number(view));
    } else if (canvas.clientWidth > 1.2 * canvas.clientHeight) {
      nv.setCustomLayout([
        { sliceType: large, position: [0, 0.01, 0.59, 0.98] },
        { sliceType: small[0], position: [0.6, 0.01, 0.39, 0.48] },
        { sliceType: small[1], position: [0.6, 0.51, 0.39, 0.48] },
      ]);
    } else {
      nv.setCustomLayout([
        { sliceType: large, position: [0.01, 0.01, 0.98, 0.64] },
        { sliceType: small[0], position: [0.01, 0.67, 0.48, 0.32] },
        { sliceType: small[1], position: [0.51, 0.67, 0.48, 0.32] },
      ]);
    }
    // A cross-hair thinner than a pixel of the smallest slice would not be drawn there.
    const pixels = nv.screenSlices.map((slice) => Math.abs(slice.fovMM[0]) / slice.leftTopWidthHeight[2]);
    nv.setCrosshairWidth(1.3 * Math.max(...pixels));
  };
  find("view").addEventListener("change", layOut);
  // After NiiVue's own listener, which fits the canvas to the window.
  addEventListener("resize", () => requestAnimationFrame(layOut));
  find("mask")?.addEventListener("change", async () => {
    mask ??= await read(find("mask-volume"), "mask", { colormap: "mask", opacity: 0.6 });
    const shown = nv.volumes.includes(mask);
    if (find("mask").checked && !shown) nv.addVolume(mask);
    if (!find("mask").checked && shown) nv.removeVolume(mask);
  });
  find("image")?.addEventListener("change", async (event) => {
    const index = Number(event.target.value);
    voxels[index] ??= (await read(sources[index], "image", grey)).img;
    // All are on one grid and scaled alike, so the voxels are all that differs. While they were unpacked another
    // image may have been chosen.
    image.img = voxels[Number(find("image").value)] ?? image.img;
    update();
  });

  // ---- places
  const moved = () => {
    nv.createOnLocationChange();
    nv.drawScene();
  };
  const within = (slice) => Math.min(Math.max(slice, 0), data.size - 1);
  const onAxis = (fraction) => (plane.backwards ? 1 - fraction : fraction);
  const goToSlice = (slice) => {
    nv.scene.crosshairPos[plane.axis] = onAxis((within(slice) + 0.5) / data.size);
    moved();
  };
  const goTo = (mm) => {
    // True: through the affine, also where the slices are oblique.
    nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
    moved();
  };
  const buttons = [...document.querySelectorAll("#patches button")];
  buttons.forEach((button, index) => button.addEventListener("click", () => goTo(data.patches[index])));
  find("slice").addEventListener("input", (event) => goToSlice(Number(event.target.value)));
  find("curve").addEventListener("click", (event) => {
    const box = find("curve").getBoundingClientRect();
    goToSlice(Math.floor(((event.clientX - box.left) / box.width) * data.size));
  });
  const side = (mm, up, down) => `${mm < 0 ? down : up} ${Math.abs(mm).toFixed(1)}`;
  const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
  nv.onLocationChange = (location) => {
    const mm = location.mm;
    const slice = within(Math.floor(onAxis(nv.scene.crosshairPos[plane.axis]) * data.size));
    const score = data.slices.find((one) => one.slice === slice)?.score;
    const where = `${side(mm[0], "R", "L")}, ${side(mm[1], "A", "P")}, ${side(mm[2], "S", "I")} mm`;
    const parts = [where, `slice ${slice}`, `anomaly score ${location.values[HEAT].value.toFixed(2)}`];
    parts.push(score === undefined ? "slice not processed" : `slice score ${score.toFixed(2)}`);
    find("position").textContent = parts.join("; ");
    find("slice").value = slice;
    find("slice-value").textContent = slice;
    marker.setAttribute("x1", across(slice));
    marker.setAttribute("x2", across(slice));
    // Half a millimetre: NiiVue rounds to the voxel where the cross-hair is dragged.
    buttons.forEach((button, index) => button.setAttribute("aria-current", distance(mm, data.patches[index]) < 0.5));
  };
  const back = (step) => step.map((one) => -one);
  const steps = { ArrowLeft: plane.left, ArrowUp: plane.up, PageUp: plane.next };
  Object.assign(steps, { ArrowRight: back(plane.left), ArrowDown: back(plane.up), PageDown: back(plane.next) });
  // Before NiiVue's own keys, which would change the view behind the back of the controls.
  for (const kind of ["keydown", "keyup"]) {
    find("viewer").addEventListener(kind, (event) => {
      event.stopPropagation();
      if (kind === "keyup" || !(event.key in steps)) return;
      event.preventDefault();
      nv.moveCrosshairInVox(...steps[event.key]);
    }, true);
  }
  canvas.addEventListener("webglcontextlost", () => fail("the browser took the graphics memory away. Load the page again."));

  find("threshold").value = data.pixelThreshold ?? 0.5;
  takeThreshold();
  takeOpacity();
  nv.addVolume(image);
  nv.addVolume(heat);
  layOut();
  if (data.patches.length) goTo(data.patches[0]);
  else goToSlice(highest?.slice ?? Math.floor(data.size / 2));
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const error = nv.gl.getError();
    if (error) fail(`WebGL reports error ${error}.`);
    else say("ready");
  }));
  // For the browser's console, and for the tests.
  window.nv = nv;
})();
