// The filter of the index. Without scripts the page is a plain list. What is chosen is kept in the address: #q=likes&state=open
"use strict";
(function () {
  var box = document.querySelector("details.filter"), form = box.querySelector("form"), output = box.querySelector("output");
  var items = Array.from(document.querySelectorAll("[data-k]")).map(function (node) {
    var data = node.dataset;
    return { node: node, at: +data.t, end: +(data.e || data.t), states: (data.s || "").split(" "), kind: data.k,
             text: ((data.m || "") + " " + node.textContent).toLowerCase() };
  });
  var days = Array.from(document.querySelectorAll(".days details"));
  var open = days.map(function (day) { return day.open; });
  var names = ["q", "state", "from", "until"];
  function instant(name, shift) {
    var given = form.elements[name].value;
    return given ? Date.parse(given + "T00:00Z") / 1000 + shift : NaN;
  }
  function show() {
    var words = form.elements.q.value.trim().toLowerCase(), state = form.elements.state.value;
    var from = instant("from", 0), until = instant("until", 86400), count = { metrics: 0, incidents: 0, runs: 0 };
    var all = !words && !state && isNaN(from) && isNaN(until);
    items.forEach(function (item) {
      var fits = (!words || item.text.indexOf(words) >= 0) && (!state || item.states.indexOf(state) >= 0) &&
        !(item.end < from) && !(item.at >= until);
      item.node.hidden = !fits;
      if (fits) { count[item.kind] += 1; }
    });
    days.forEach(function (day, n) {
      var some = day.querySelector("tr[data-k]:not([hidden])") !== null;
      day.hidden = !some;
      day.open = all ? open[n] : some;
    });
    document.querySelectorAll(".empty").forEach(function (line) {
      line.hidden = all || line.parentNode.querySelector("[data-k]:not([hidden])") !== null;
    });
    document.querySelectorAll(".now, .cards").forEach(function (list) {
      list.classList.toggle("bare", list.querySelector("[data-k]:not([hidden])") === null);
    });
    output.value = all ? "" : output.dataset.shown.replace("{metrics}", count.metrics)
      .replace("{incidents}", count.incidents).replace("{runs}", count.runs);
    return all;
  }
  function keep() {
    var chosen = new URLSearchParams();
    names.forEach(function (name) { if (form.elements[name].value) { chosen.set(name, form.elements[name].value); } });
    history.replaceState(null, "", "#" + chosen);
    show();
  }
  function read() {
    var chosen = new URLSearchParams(location.hash.slice(1));
    names.forEach(function (name) { form.elements[name].value = chosen.get(name) || ""; });
    if (!show()) { box.open = true; }
  }
  box.hidden = false;
  form.addEventListener("input", keep);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(keep, 0); });
  window.addEventListener("hashchange", read);
  read();
  var stale = document.getElementById("stale"), minutes = Math.floor((Date.now() / 1000 - stale.dataset.written) / 60);
  if (minutes > 35) {
    stale.textContent = stale.dataset.words.replace("{minutes}", minutes);
    stale.hidden = false;
  }
})();
