// studio.js - what page.js asks for, by a worker in which the library runs.
"use strict";

const studio = {
    worker: new Worker("worker.js"),

    // The next message of the worker about this request; it may send others on the way.
    ask(message, report) {
        return new Promise((resolve, reject) => {
            this.worker.onmessage = ({data}) => {
                if (data.error) reject(new Error(data.error));
                else if (data.result) resolve(data.result);
                else report(data.done, data.total);
            };
            this.worker.onerror = event => reject(new Error(event.message || "the worker's scripts are not there"));
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
