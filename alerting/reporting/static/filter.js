// The filter of the index. Without scripts the page is a plain list.
"use strict";
(function () {
  var form = document.querySelector("form.filter"), output = form.querySelector("output");
  var items = Array.from(document.querySelectorAll("[data-t]")).map(function (node) {
    var data = node.dataset;
    return { node: node, at: +data.t, end: +(data.e || data.t), metrics: (data.m || "").split(" "),
             states: (data.s || "").split(" "), incident: node.tagName === "LI" };
  });
  var days = Array.from(document.querySelectorAll(".days details"));
  var open = days.map(function (day) { return day.open; });
  function instant(name, shift) {
    var given = form.elements[name].value;
    return given ? Date.parse(given + "T00:00Z") / 1000 + shift : NaN;
  }
  function show() {
    var metric = form.elements.metric.value, state = form.elements.state.value;
    var from = instant("from", 0), until = instant("until", 86400), count = { incidents: 0, runs: 0 };
    var all = !metric && !state && isNaN(from) && isNaN(until);
    items.forEach(function (item) {
      var fits = (!metric || item.metrics.indexOf(metric) >= 0) && (!state || item.states.indexOf(state) >= 0) &&
        !(item.end < from) && !(item.at >= until);
      item.node.hidden = !fits;
      if (fits) { count[item.incident ? "incidents" : "runs"] += 1; }
    });
    days.forEach(function (day, n) {
      var some = day.querySelector("tr[data-t]:not([hidden])") !== null;
      day.hidden = !some;
      day.open = all ? open[n] : some;
    });
    output.value = output.dataset.shown.replace("{incidents}", count.incidents).replace("{runs}", count.runs);
  }
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(show, 0); });
  show();
  var stale = document.getElementById("stale"), minutes = Math.floor((Date.now() / 1000 - stale.dataset.written) / 60);
  if (minutes > 35) {
    stale.textContent = stale.dataset.words.replace("{minutes}", minutes);
    stale.hidden = false;
  }
})();
