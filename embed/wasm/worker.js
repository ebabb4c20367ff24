// worker.js - the library, away from the page's thread.  It stops between two pictures to hear a request to cancel.
"use strict";

importScripts("digits.js", "library.js");

let digits = null, stop = false;

async function open() {
    const file = new Uint8Array(await (await fetch("model.safetensors")).arrayBuffer());
    digits = openDigits(await Digits(), file);
    return digits.model;
}

async function run(request) {
    const pictures = [];
    let seconds = 0;
    stop = false;
    for (let i = 0; i < request.count; i++) {
        const begun = performance.now();
        pictures.push(...digits.run(request, i));
        seconds += (performance.now() - begun) / 1000;
        postMessage({done: i + 1, total: request.count});
        await new Promise(resolve => setTimeout(resolve));
        if (stop) throw new Error("cancelled");
    }
    return {pictures: new Uint8Array(pictures), seconds: seconds};
}

onmessage = async ({data}) => {
    if (data.task === "cancel") {
        stop = true;
        return;
    }
    try {
        postMessage({result: await (data.task === "open" ? open() : run(data.request))});
    } catch (error) {
        postMessage({error: error.message});
    }
};
