// studio.js - what page.js asks for, by requests to the server.
"use strict";

const studio = {
    job: null,         // what runs, once the server has told its name
    unwanted: false,   // cancel() came; a job that has no name yet is cancelled as soon as it has one

    async open() {
        return (await fetch("/model")).json();
    },

    // Pictures as bytes.  `report` gets done and total; the error "cancelled" comes after cancel().
    async run(request, report) {
        const query = new URLSearchParams({label: request.label, steps: request.steps, count: request.count, seed: request.seed});
        const body = request.picture ? new Blob([request.picture, request.mask]) : null;
        this.job = null;
        this.unwanted = false;
        const asked = await this.reply(await fetch("/jobs?" + query, {method: "POST", body: body}));
        this.job = asked.job;
        if (this.unwanted) await this.cancel();
        for (;;) {
            const state = await this.reply(await fetch("/jobs/" + asked.job));
            report(state.done, state.total);
            if (state.state === "cancelled") throw new Error("cancelled");
            if (state.state === "done") {
                const pictures = await fetch("/jobs/" + asked.job + "/pictures");
                if (!pictures.ok) await this.reply(pictures);
                return {pictures: new Uint8Array(await pictures.arrayBuffer()), seconds: state.seconds};
            }
            await new Promise(resolve => setTimeout(resolve, 50));
        }
    },

    async cancel() {
        this.unwanted = true;
        if (this.job) await fetch("/jobs/" + this.job, {method: "DELETE"});
    },

    async reply(response) {
        const json = await response.json();
        if (!response.ok) throw new Error(json.error);
        return json;
    },
};
