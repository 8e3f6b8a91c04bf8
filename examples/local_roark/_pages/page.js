"use strict";
(() => {
  const player = document.getElementById("player");
  if (!player) return;
  const wave = document.getElementById("waveform");
  const playhead = document.getElementById("playhead");
  const turns = [...document.querySelectorAll("[data-end]")];

  const play = (seconds) => {
    player.currentTime = seconds;
    player.play();
  };

  const follow = () => {
    const at = player.currentTime * 1000;
    for (const turn of turns) {
      const now = turn.dataset.seek <= at && at < turn.dataset.end && at > 0;
      turn.classList.toggle("now", now);
    }
    if (!wave) return;
    const x = `${Math.min(100, (100 * at) / wave.dataset.duration)}%`;
    playhead.setAttribute("x1", x);
    playhead.setAttribute("x2", x);
  };

  document.querySelector(".timeline")?.addEventListener("click", (event) => {
    const item = event.target.closest("[data-seek]");
    if (item && getSelection().isCollapsed) play(item.dataset.seek / 1000);
  });
  wave?.addEventListener("click", (event) => {
    const box = wave.getBoundingClientRect();
    play((((event.clientX - box.left) / box.width) * wave.dataset.duration) / 1000);
  });

  // "timeupdate" comes four times a second; a playhead should glide.
  const glide = () => {
    follow();
    if (!player.paused) requestAnimationFrame(glide);
  };
  player.addEventListener("play", glide);
  player.addEventListener("seeked", follow);
})();
