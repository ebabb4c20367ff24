// page.js - the page: what is chosen, painted and shown.  What draws is `studio` (studio.js).
"use strict";

const cells = 4;
const at = id => document.getElementById(id);
const state = {model: null, pictures: null, picture: null, mask: null, busy: false, seed: 1};

// Bytes of one picture, gray or of three channels, as pixels.
function pixels(bytes) {
    const m = state.model, image = new ImageData(m.width, m.height);
    for (let i = 0; i < m.width * m.height; i++) {
        for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[i * m.channels + (m.channels === 3 ? c : 0)];
        image.data[4 * i + 3] = 255;
    }
    return image;
}

// An image into a rectangle of a canvas, its pixels as squares.
function show(image, canvas, x, y, side) {
    const small = document.createElement("canvas"), context = canvas.getContext("2d");
    small.width = image.width;
    small.height = image.height;
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, x, y, side, side);
}

function showPicture() {
    const image = pixels(state.picture);
    state.mask.forEach((made, i) => {
        if (!made) return;
        image.data[4 * i] = 128 + image.data[4 * i] / 2;
        image.data[4 * i + 1] = image.data[4 * i + 2] = image.data[4 * i + 1] / 3;
    });
    show(image, at("picture"), 0, 0, at("picture").width);
}

function bytesOf(index) {
    const n = state.model.height * state.model.width * state.model.channels;
    return state.pictures.slice(index * n, (index + 1) * n);
}

function showPage() {
    const side = at("page").width / cells;
    for (let i = 0; i < cells * cells; i++)
        show(pixels(bytesOf(i)), at("page"), i % cells * side, Math.floor(i / cells) * side, side);
}

function choose(index) {
    state.picture = bytesOf(index);
    showPicture();
}

function setBusy(busy) {
    state.busy = busy;
    for (const id of ["draw", "fill"]) at(id).disabled = busy;
    at("cancel").disabled = !busy;
}

async function run(fill) {
    if (state.busy) return;
    const label = Number(at("label").value);
    if (fill && label < 0 && state.model.classes > 0) {
        at("said").textContent = "Filling in needs a class.";
        return;
    }
    const request = {label: label, steps: Number(at("steps").value), count: cells * cells, seed: state.seed++};
    if (fill) Object.assign(request, {picture: state.picture, mask: state.mask});
    setBusy(true);
    at("said").textContent = "";
    at("progress").value = 0;
    try {
        const made = await studio.run(request, (done, total) => { at("progress").value = total ? done / total : 0; });
        state.pictures = made.pictures;
        at("progress").value = 1;
        at("said").textContent = `${(1000 * made.seconds / request.count).toFixed(2)} ms a picture, ` +
            `${(request.count / made.seconds).toFixed(0)} in a second`;
        showPage();
        choose(0);
    } catch (error) {
        at("said").textContent = error.message;
    }
    setBusy(false);
}

// A round brush; the right button takes away.
function brush(across, down, value) {
    const m = state.model;
    for (let y = 0; y < m.height; y++)
        for (let x = 0; x < m.width; x++)
            if (Math.hypot(x + 0.5 - across, y + 0.5 - down) < m.width / 12) state.mask[y * m.width + x] = value;
}

// A quick mouse is seen in few places; the brush goes along the line between them.
function paint(event) {
    if (!event.buttons || !state.model) return;
    const box = at("picture").getBoundingClientRect(), m = state.model;
    const to = [(event.clientX - box.left) / box.width * m.width, (event.clientY - box.top) / box.height * m.height];
    const from = event.type === "pointermove" && state.last ? state.last : to;
    for (let i = 1; i <= m.width; i++)
        brush(from[0] + (to[0] - from[0]) * i / m.width, from[1] + (to[1] - from[1]) * i / m.width, event.buttons & 2 ? 0 : 255);
    state.last = to;
    showPicture();
}

async function begin() {
    state.model = await studio.open();
    const m = state.model;
    state.mask = new Uint8Array(m.width * m.height);
    state.picture = new Uint8Array(m.width * m.height * m.channels);
    state.pictures = new Uint8Array(cells * cells * state.picture.length);
    at("label").add(new Option("any", "-1"));
    for (let i = 0; i < m.classes; i++) at("label").add(new Option(String(i), String(i)));
    at("draw").onclick = () => run(false);
    at("fill").onclick = () => run(true);
    at("clear").onclick = () => { state.mask.fill(0); showPicture(); };
    at("cancel").onclick = () => studio.cancel();
    at("steps").oninput = () => { at("steps-text").value = at("steps").value; };
    at("picture").onpointerdown = at("picture").onpointermove = paint;
    at("picture").oncontextmenu = event => event.preventDefault();
    at("page").onclick = event => {
        const side = at("page").getBoundingClientRect().width / cells;
        choose(Math.min(15, Math.floor(event.offsetY / side) * cells + Math.floor(event.offsetX / side)));
    };
    await run(false);
    document.body.dataset.ready = "1";
}

begin().catch(error => { at("said").textContent = error.message; });
