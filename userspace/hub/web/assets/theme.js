// Before anything is shown, so that nobody is dazzled: the chosen theme, else the system's.
(() => {
  const chosen = localStorage.getItem('podscope.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
