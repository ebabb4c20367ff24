// embed_wasm.js SITE [SERVER MODEL]: the library of embed/wasm in Node: what it refuses, and, beside a server of embed/http,
// whether its pictures are those of the native library.
"use strict";

const fs = require("fs"), path = require("path"), child = require("child_process");
const site = path.resolve(process.argv[2]), read = name => fs.readFileSync(path.join(site, name));
const Digits = require(path.join(site, "digits.js")), openDigits = require(path.join(site, "library.js"));
const open = async model => openDigits(await Digits({wasmBinary: read("digits.wasm")}), model);

// A sentence for what does not fit, and nothing is damaged by it.
async function refuses(digits, model) {
    const {width, height, channels} = digits.model, size = width * height * channels;
    const request = {label: 7, steps: 1, seed: 1}, before = digits.run(request, 0);
    const fill = (picture, mask) => ({picture: new Uint8Array(picture), mask: new Uint8Array(mask)});
    const wrong = [[{label: 10}, "labels"], [{label: -2}, "labels"], [{steps: 0}, "steps"], [{steps: 65}, "steps"], [{steps: NaN}, "steps"],
        [fill(1e6, width * height), "bytes"], [fill(size, 1e6), "bytes"], [fill(size - 1, width * height), "bytes"],
        [{...fill(size, width * height), label: -1}, "label"], [{...fill(size, width * height), steps: 0}, "steps"]];
    for (const [change, word] of wrong) {
        let message = "nothing";
        try { digits.run({...request, ...change}, 0); } catch (error) { message = error.message; }
        if (!message.includes(word)) throw new Error(`${JSON.stringify(change).slice(0, 60)}: it says ${message}`);
    }
    for (const damaged of [model.subarray(0, 0), model.subarray(0, 5000), model.subarray(0, 1e6), Buffer.alloc(1e5, 255)]) {
        let message = "";
        try { await open(damaged); } catch (error) { message = error instanceof WebAssembly.RuntimeError ? "" : error.message; }
        if (!message) throw new Error(`a model of ${damaged.length} bytes is not refused`);
    }
    if (digits.run(request, 0).some((v, i) => v !== before[i])) throw new Error("another picture after what was refused");
}

// Bytes of the native library, whose sums are rounded in another order: how many differ, and by how much at most.
async function compare(digits, url, request) {
    const query = new URLSearchParams({label: request.label, steps: request.steps, count: request.count, seed: request.seed});
    const body = request.picture ? Buffer.concat([request.picture, request.mask]) : undefined;
    const {job} = await (await fetch(`${url}jobs?${query}`, {method: "POST", body})).json();
    for (let state = ""; state !== "done"; await new Promise(resolve => setTimeout(resolve, 20)))
        state = (await (await fetch(`${url}jobs/${job}`)).json()).state;
    const native = new Uint8Array(await (await fetch(`${url}jobs/${job}/pictures`)).arrayBuffer());
    const ours = Array.from({length: request.count}, (_, i) => Array.from(digits.run(request, i))).flat();
    if (ours.length !== native.length) throw new Error(`${ours.length} bytes, ${native.length} by the native library`);
    const most = ours.reduce((m, v, i) => Math.max(m, Math.abs(v - native[i])), 0);
    const others = ours.reduce((n, v, i) => n + (v !== native[i]), 0);
    console.log(`${request.picture ? "filled in" : "drawn"} in ${request.steps}: ${others} of ${ours.length} bytes differ, by ${most} at most`);
    if (most > 1) throw new Error("other pictures than the native library's");
    return native;
}

async function main() {
    const model = read("model.safetensors"), digits = await open(model);
    await refuses(digits, model);
    if (process.argv.length < 5) return;
    const server = child.spawn(process.argv[3], [process.argv[4], "0"]);
    try {
        const url = (await new Promise(resolve => server.stdout.once("data", resolve))).toString().trim();
        const {width, height, channels} = digits.model, half = width * height / 2;
        const drawn = await compare(digits, url, {label: 3, steps: 1, count: 10, seed: 5});
        await compare(digits, url, {label: 4, steps: 3, count: 4, seed: 6});
        const mask = new Uint8Array(width * height).fill(255, half);
        await compare(digits, url, {label: 3, steps: 8, count: 2, seed: 7, picture: drawn.slice(0, width * height * channels), mask});
    } finally {
        server.kill();
    }
}

main().catch(error => { console.error(error.message); process.exit(1); });
