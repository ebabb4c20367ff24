// studio.js - what page.js asks for, by a worker in which the library runs.
"use strict";

const studio = {
    worker: new Worker("worker.js"),
    number: 0,

    // The next message of the worker about this request; it may send others on the way.
    ask(message, report) {
        return new Promise((resolve, reject) => {
            this.worker.onmessage = ({data}) => {
                if (data.error) reject(Object.assign(new Error(data.error), {cancelled: data.error === "cancelled"}));
                else if (data.result) resolve(data.result);
                else report(data.done, data.total);
            };
            this.worker.postMessage(message);
        });
    },

    open() {
        return this.ask({task: "open"});
    },

    run(request, report) {
        return this.ask({task: "run", request: request}, report);
    },

    cancel() {
        this.worker.postMessage({task: "cancel"});
    },
};
