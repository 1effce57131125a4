"use strict";
(() => {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(code); // a page opened from a file may not write to the clipboard
      }
    });
  }

  const figure = document.querySelector("figure.cloud");
  if (!figure) return;
  const canvas = figure.querySelector("canvas");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const view = { turn: -0.5, tilt: 0.08, distance: 3.4, swaying: !still, visible: true };
  let cloud = null;

  /* x right, y down, z away become x right, y up, z towards the viewer. */
  const unpack = (script) => {
    const bytes = Uint8Array.from(atob(script.textContent.trim()), (c) => c.charCodeAt(0));
    const count = Number(script.dataset.count);
    const stored = new Int16Array(bytes.buffer, 0, count * 3);
    const positions = new Float32Array(count * 3);
    for (let i = 0; i < stored.length; i++) positions[i] = (i % 3 ? -stored[i] : stored[i]) / 32767;
    return { count, positions, colors: bytes.subarray(count * 6) };
  };

  const vertexShader = `
    attribute vec3 place; attribute vec3 color;
    uniform vec4 turn; uniform vec3 lens; uniform float size;
    varying vec3 shade;
    void main() {
      float x = turn.x * place.x + turn.y * place.z, z = turn.x * place.z - turn.y * place.x;
      float y = turn.z * place.y - turn.w * z;
      z = turn.w * place.y + turn.z * z;
      float depth = lens.z - z;
      gl_Position = vec4(lens.x * x, lens.y * y, (depth - lens.z) / 2.0, depth);
      gl_PointSize = size / depth;
      shade = color;
    }`;
  const fragmentShader = `
    precision mediump float; varying vec3 shade;
    void main() {
      if (length(gl_PointCoord - 0.5) > 0.5) discard;
      gl_FragColor = vec4(shade, 1.0);
    }`;

  const withWebGL = () => {
    const gl = canvas.getContext("webgl", { alpha: true, antialias: true });
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    const attribute = (name, data, kind, normalized) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, kind, normalized, 0, 0);
    };
    const uniform = (name) => gl.getUniformLocation(program, name);
    const [turn, lens, size] = ["turn", "lens", "size"].map(uniform);
    return {
      name: "webgl",
      load() {
        attribute("place", cloud.positions, gl.FLOAT, false);
        attribute("color", cloud.colors, gl.UNSIGNED_BYTE, true);
      },
      draw() {
        const { width, height } = canvas;
        const short = Math.min(width, height);
        gl.viewport(0, 0, width, height);
        gl.clearColor(0, 0, 0, 0);
        gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
        gl.uniform4f(turn, Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt));
        gl.uniform3f(lens, (3 * short) / width, (3 * short) / height, view.distance);
        gl.uniform1f(size, short * 0.048);
        gl.drawArrays(gl.POINTS, 0, cloud.count);
      },
    };
  };

  /* The painter's way, far points first, where there is no WebGL. */
  const withCanvas = () => {
    const pen = canvas.getContext("2d");
    return {
      name: "2d",
      load() {},
      draw() {
        const { width, height } = canvas;
        const short = Math.min(width, height);
        const [ct, st, cv, sv] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt)];
        const points = [];
        for (let i = 0; i < cloud.count; i++) {
          const [a, b, c] = cloud.positions.subarray(3 * i, 3 * i + 3);
          const across = ct * c - st * a;
          const depth = view.distance - (sv * b + cv * across);
          points.push([depth, (1.5 * short * (ct * a + st * c)) / depth, (1.5 * short * (cv * b - sv * across)) / depth, i]);
        }
        points.sort((p, q) => q[0] - p[0]);
        pen.clearRect(0, 0, width, height);
        for (const [depth, x, y, i] of points) {
          pen.fillStyle = `rgb(${cloud.colors.subarray(3 * i, 3 * i + 3).join()})`;
          const side = (short * 0.044) / depth;
          pen.fillRect(width / 2 + x - side / 2, height / 2 - y - side / 2, side, side);
        }
      },
    };
  };

  const painter = withWebGL() || withCanvas();
  let pending = false;
  const paint = (now) => {
    pending = false;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    if (view.swaying) view.turn = 0.55 * Math.sin(now / 2600);
    painter.draw();
    canvas.dataset.drawn = painter.name;
    if (view.swaying && view.visible) ask();
  };
  const ask = () => {
    if (!pending) requestAnimationFrame(paint);
    pending = true;
  };
  const nearer = (factor) => {
    view.distance = Math.min(8, Math.max(1.6, view.distance * factor));
    ask();
  };
  const move = (turn, tilt) => {
    view.swaying = false;
    view.turn += turn;
    view.tilt = Math.min(1.3, Math.max(-1.3, view.tilt + tilt));
    ask();
  };
  const show = (name) => {
    const scripts = [...figure.querySelectorAll("script[data-name]")];
    const script = scripts.find((one) => one.dataset.name === name) || scripts[0];
    cloud = unpack(script);
    figure.querySelector("[data-points]").textContent = cloud.count.toLocaleString("en").replace(",", "\u202f");
    painter.load();
    ask();
  };

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    if (fingers.size === 1) move((event.clientX - before.clientX) / 120, (event.clientY - before.clientY) / 120);
    else {
      const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      nearer(apart(before) / Math.max(apart(event), 1));
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    nearer(Math.exp(event.deltaY / 600));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (steps[event.key]) move(...steps[event.key]);
    else if (event.key === "+" || event.key === "-") nearer(event.key === "+" ? 0.9 : 1.1);
    else return;
    event.preventDefault();
  });
  for (const button of figure.querySelectorAll("[data-cloud]")) {
    button.addEventListener("click", () => {
      for (const other of figure.querySelectorAll("[data-cloud]")) other.setAttribute("aria-pressed", String(other === button));
      show(button.dataset.cloud);
    });
  }
  new ResizeObserver(ask).observe(canvas);
  new IntersectionObserver(([entry]) => {
    view.visible = entry.isIntersecting;
    if (view.visible) ask();
  }).observe(canvas);
  show("");
})();
