// library.js - the calls of digits.c on bytes of JavaScript, for the worker of the page and for Node.
"use strict";

function openDigits(wasm, file) {
    // Numbers of a later view: memory that grows leaves older views without content.
    const place = bytes => {
        const at = wasm._malloc(bytes.length);
        if (!at) throw new Error("out of memory");
        wasm.HEAPU8.set(bytes, at);
        return at;
    };
    const check = status => {
        if (status) throw new Error(wasm.UTF8ToString(wasm._digits_message()));
    };
    check(wasm._digits_open(place(file), file.length));
    const [channels, height, width, classes] = [0, 1, 2, 3].map(i => wasm._digits_info(i));
    const size = channels * height * width;
    const out = place(new Uint8Array(size)), given = place(new Uint8Array(size)), mask = place(new Uint8Array(height * width));
    return {
        model: {channels, height, width, classes},
        run(request, index) {
            const fill = Boolean(request.picture);
            if (fill) {
                // What is longer than its place would write over what lies behind it.
                if (request.picture.length !== size || request.mask.length !== height * width)
                    throw new Error(`a picture has ${size} bytes, a mask ${height * width}`);
                wasm.HEAPU8.set(request.picture, given);
                wasm.HEAPU8.set(request.mask, mask);
            }
            check(wasm._digits_run(request.label, request.steps, request.seed, index, fill ? given : 0, fill ? mask : 0, out));
            return wasm.HEAPU8.slice(out, out + size);
        },
    };
}

if (typeof module !== "undefined") module.exports = openDigits;
