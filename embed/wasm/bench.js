// bench.js SITE: how long a picture takes in Node, the fastest of 200.
"use strict";

const fs = require("fs"), path = require("path");
const site = path.resolve(process.argv[2]), read = name => fs.readFileSync(path.join(site, name));
const Digits = require(path.join(site, "digits.js")), openDigits = require(path.join(site, "library.js"));

async function main() {
    const digits = openDigits(await Digits({wasmBinary: read("digits.wasm")}), read("model.safetensors"));
    let fastest = Infinity;
    for (let i = 0; i < 200; i++) {
        const begun = process.hrtime.bigint();
        digits.run({label: 7, steps: 1, seed: 1}, i);
        fastest = Math.min(fastest, Number(process.hrtime.bigint() - begun) / 1e6);
    }
    console.log(`wasm: ${fastest.toFixed(2)} ms a picture, ${(1000 / fastest).toFixed(0)} in a second`);
}

main().catch(error => { console.error(error.message); process.exit(1); });
