(function () {
  "use strict";
  var plots = Array.from(document.querySelectorAll(".plot"));
  plots.forEach(function (plot) {
    var figure = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
  });
  window.addEventListener("beforeprint", function () {
    plots.forEach(function (plot) { Plotly.relayout(plot, { width: plot.closest(".grid") ? 330 : 680 }); });
  });
  window.addEventListener("afterprint", function () {
    plots.forEach(function (plot) { Plotly.relayout(plot, { width: null, autosize: true }); });
  });
})();
