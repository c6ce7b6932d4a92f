(function () {
  "use strict";
  var tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.appendChild(tip);
  function linesOf(svg) {
    return Array.from(svg.querySelectorAll("[data-points]")).map(function (line) {
      var points = line.dataset.points.split(";").map(function (point) {
        var fields = point.split("|");
        return { x: Number(fields[0]), at: fields[2], value: fields[3] };
      });
      return { colour: getComputedStyle(line).stroke, name: line.dataset.name, points: points };
    });
  }
  function nearest(points, x) {
    return points.reduce(function (best, point) {
      return Math.abs(best.x - x) > Math.abs(point.x - x) ? point : best;
    });
  }
  function row(line, point) {
    var row = document.createElement("div");
    var swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = line.colour;
    var value = document.createElement("b");
    value.textContent = point.value;
    row.append(swatch, line.name, value);
    return row;
  }
  document.querySelectorAll("svg.chart").forEach(function (svg) {
    var lines = null;
    var guide = svg.querySelector(".guide");
    svg.addEventListener("pointermove", function (event) {
      lines = lines || linesOf(svg);
      if (lines.length === 0) { return; }
      var box = svg.getBoundingClientRect();
      var x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      var found = lines.map(function (line) { return nearest(line.points, x); });
      var first = nearest(found, x);
      guide.setAttribute("x1", first.x);
      guide.setAttribute("x2", first.x);
      guide.setAttribute("visibility", "visible");
      tip.replaceChildren(first.at);
      found.forEach(function (point, place) {
        // A line that has nothing here says nothing.
        if (4 > Math.abs(point.x - first.x)) { tip.append(row(lines[place], point)); }
      });
      tip.hidden = false;
      var right = event.clientX + 16 + tip.offsetWidth > window.innerWidth;
      tip.style.left = (right ? Math.max(0, event.clientX - 16 - tip.offsetWidth) : event.clientX + 16) + "px";
      tip.style.top = Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight) + "px";
    });
    svg.addEventListener("pointerleave", function () {
      tip.hidden = true;
      guide.setAttribute("visibility", "hidden");
    });
  });
}());
