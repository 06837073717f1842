/** Draws very many points: by WebGL, or pixel by pixel where the browser has none. And finds the one under a finger. */

/**
 * Where the map is looked at: the point of the world (-1..1 both ways) in the middle, and how many CSS pixels a unit of
 * the world takes.
 *
 * @typedef {{x: number, y: number, scale: number}} Look
 *
 * @typedef {object} Painter
 * @property {"webgl" | "canvas"} kind
 * @property {(positions: Float32Array) => void} place x and y of each point
 * @property {(colours: Uint8Array) => void} colour red, green, blue and opacity of each point
 * @property {(look: Look, size: number) => void} draw size: of a point, in CSS pixels
 */

const VERTEX = `
attribute vec2 place; attribute vec4 colour;
uniform vec2 middle; uniform vec2 scale; uniform float size;
varying vec4 shade;
void main() { gl_Position = vec4((place - middle) * scale, 0.0, 1.0); gl_PointSize = size; shade = colour; }`;

const FRAGMENT = `
precision mediump float; varying vec4 shade;
void main() {
  float edge = 1.0 - smoothstep(0.36, 0.5, distance(gl_PointCoord, vec2(0.5)));
  gl_FragColor = vec4(shade.rgb, 1.0) * shade.a * edge;
}`;

/** @param {WebGLRenderingContext} gl @param {number} type @param {string} source */
function shader(gl, type, source) {
  const made = /** @type {WebGLShader} */ (gl.createShader(type));
  gl.shaderSource(made, source);
  gl.compileShader(made);
  return made;
}

/** @param {HTMLCanvasElement} canvas @param {boolean} anyhow @returns {Painter | null} null where the browser cannot */
function webgl(canvas, anyhow) {
  // Without a graphics card WebGL is drawn by the processor, where plain pixels are several times faster.
  const context = canvas.getContext("webgl", { antialias: false, failIfMajorPerformanceCaveat: !anyhow });
  if (!context) return null;
  const gl = context;
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const places = gl.createBuffer(),
    colours = gl.createBuffer();
  const uniform = (/** @type {string} */ name) => gl.getUniformLocation(program, name);
  const [middle, scale, size] = [uniform("middle"), uniform("scale"), uniform("size")];
  let count = 0;

  /** @param {WebGLBuffer} buffer @param {Float32Array | Uint8Array} values @param {string} name @param {number} width */
  function send(buffer, values, name, width) {
    const at = gl.getAttribLocation(program, name);
    const bytes = values instanceof Uint8Array;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, width, bytes ? gl.UNSIGNED_BYTE : gl.FLOAT, bytes, 0, 0);
  }

  return {
    kind: "webgl",
    place(positions) {
      count = positions.length / 2;
      send(places, positions, "place", 2);
    },
    colour(values) {
      send(colours, values, "colour", 4);
    },
    draw(look, wide) {
      const ratio = devicePixelRatio || 1;
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(middle, look.x, look.y);
      gl.uniform2f(scale, (2 * look.scale * ratio) / canvas.width, (2 * look.scale * ratio) / canvas.height);
      gl.uniform1f(size, Math.max(2, wide * ratio));
      gl.drawArrays(gl.POINTS, 0, count);
    },
  };
}

/** @param {HTMLCanvasElement} canvas @returns {Painter} */
function pixels(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {Float32Array} */
  let positions = new Float32Array(0);
  /** @type {Uint8Array} */
  let colours = new Uint8Array(0);
  return {
    kind: "canvas",
    place(given) {
      positions = given;
    },
    colour(given) {
      colours = given;
    },
    draw(look, wide) {
      const ratio = devicePixelRatio || 1;
      const { width, height } = canvas;
      if (!width || !height) return;
      const image = context.createImageData(width, height);
      const target = image.data;
      const side = Math.max(2, Math.round(wide * ratio * 0.8));
      for (let i = 0; i < positions.length / 2; i++) {
        const left = Math.round(width / 2 + (positions[2 * i] - look.x) * look.scale * ratio - side / 2);
        const top = Math.round(height / 2 - (positions[2 * i + 1] - look.y) * look.scale * ratio - side / 2);
        if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
        for (let row = top; row < top + side; row++) {
          for (let at = (row * width + left) * 4, end = at + side * 4; at < end; at += 4) {
            for (let c = 0; c < 3; c++) target[at + c] = colours[4 * i + c];
            target[at + 3] = Math.max(target[at + 3], colours[4 * i + 3]);
          }
        }
      }
      context.putImageData(image, 0, 0);
    },
  };
}

/** @param {HTMLCanvasElement} canvas @param {boolean} anyhow WebGL even where it is slow @returns {Painter} */
export function makePainter(canvas, anyhow) {
  return webgl(canvas, anyhow) ?? pixels(canvas);
}

/**
 * Puts points into -1..1 both ways, as wide as they are high.
 *
 * @param {number[]} x
 * @param {number[]} y
 */
export function normal(x, y) {
  const positions = new Float32Array(x.length * 2);
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < x.length; i++) {
    left = Math.min(left, x[i]);
    right = Math.max(right, x[i]);
    low = Math.min(low, y[i]);
    high = Math.max(high, y[i]);
  }
  const half = Math.max(right - left, high - low, 1e-9) / 2;
  for (let i = 0; i < x.length; i++) {
    positions[2 * i] = (x[i] - (left + right) / 2) / half;
    positions[2 * i + 1] = (y[i] - (low + high) / 2) / half;
  }
  return positions;
}

/**
 * Finds the nearest point fast: the points are sorted into the cells of a grid once.
 *
 * @param {Float32Array} positions
 */
export function makeFinder(positions) {
  const count = positions.length / 2;
  const side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(count / 2))));
  const cellOf = (/** @type {number} */ value) => Math.min(side - 1, Math.max(0, Math.floor(((value + 1) / 2) * side)));
  const begins = new Uint32Array(side * side + 1);
  for (let i = 0; i < count; i++) begins[cellOf(positions[2 * i + 1]) * side + cellOf(positions[2 * i]) + 1]++;
  for (let cell = 0; cell < side * side; cell++) begins[cell + 1] += begins[cell];
  const sorted = new Uint32Array(count),
    filled = begins.slice();
  for (let i = 0; i < count; i++) sorted[filled[cellOf(positions[2 * i + 1]) * side + cellOf(positions[2 * i])]++] = i;

  /** @param {number} x @param {number} y @param {number} reach @returns {number} the point's place, or -1 */
  return function nearest(x, y, reach) {
    let found = -1,
      least = reach * reach;
    for (let row = cellOf(y - reach); row <= cellOf(y + reach); row++) {
      for (let column = cellOf(x - reach); column <= cellOf(x + reach); column++) {
        for (let i = begins[row * side + column]; i < begins[row * side + column + 1]; i++) {
          const point = sorted[i];
          const far = (positions[2 * point] - x) ** 2 + (positions[2 * point + 1] - y) ** 2;
          if (far < least) [found, least] = [point, far];
        }
      }
    }
    return found;
  };
}

/**
 * The points within a line drawn around them.
 *
 * @param {Float32Array} positions
 * @param {[number, number][]} line
 */
export function within(positions, line) {
  /** @type {number[]} */
  const inside = [];
  for (let i = 0; i < positions.length / 2; i++) {
    const x = positions[2 * i],
      y = positions[2 * i + 1];
    let odd = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      const [ax, ay] = line[a],
        [bx, by] = line[b];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    if (odd) inside.push(i);
  }
  return inside;
}
