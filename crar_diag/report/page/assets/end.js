// Says to whoever waits for it that all plots are there.
Promise.all(drawings).then(() => { document.documentElement.dataset.drawn = String(Math.round(performance.now())); });
