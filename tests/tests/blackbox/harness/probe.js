// Measures its page, and writes the result into the parent page of the frame.
(() => {
  const isSeen = element => element.getClientRects().length > 0;
  const numbers = color => (color.match(/[\d.]+/g) || []).map(Number);
  const luminance = color => {
    const [red, green, blue] = numbers(color).slice(0, 3).map(part => {
      part /= 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [a, b] = [luminance(one) + 0.05, luminance(other) + 0.05];
    return Math.max(a, b) / Math.min(a, b);
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      const parts = numbers(color);
      if (parts.length === 3 || parts[3] > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };

  const texts = [];
  for (const element of document.querySelectorAll('main *')) {
    const text = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join('');
    if (!text || !isSeen(element)) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const color = drawn ? style.fill : style.color;
    const scale = drawn ? element.getScreenCTM().a : 1;
    texts.push({ text: text.slice(0, 40), drawn, contrast: contrast(color, behind(element)), size: parseFloat(style.fontSize) * scale });
  }

  // Flags broken over two lines.
  const broken = [];
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    for (const flag of node.data.matchAll(/(?<![\w-])--?[a-z][a-z-]*/g)) {
      const range = document.createRange();
      range.setStart(node, flag.index);
      range.setEnd(node, flag.index + flag[0].length);
      if (range.getClientRects().length > 1) broken.push(flag[0]);
    }
  }

  const plots = [...document.querySelectorAll('figure')].map(figure => {
    const pictures = [...figure.querySelectorAll('[role=img]')].filter(isSeen);
    const card = figure.getBoundingClientRect();
    const boxes = pictures.map(picture => picture.querySelector('svg').getBoundingClientRect());
    const outside = pictures.flatMap((picture, index) => [...picture.querySelectorAll('text')].filter(text => {
      const box = text.getBoundingClientRect();
      const whole = boxes[index];
      return box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
    }).map(text => text.textContent.trim()));
    // Words on one line with less than a word space between them, and marks that hide each other.
    const collisions = pictures.flatMap(picture => {
      const texts = [...picture.querySelectorAll('text')].filter(text => text.textContent.trim());
      const boxes = texts.map(text => [text.textContent.trim(), text.getBoundingClientRect()]);
      const pairs = boxes.flatMap((one, index) => boxes.slice(index + 1).map(other => [one, other]));
      return pairs.filter(([[, a], [, b]]) => Math.abs(a.top - b.top) < 3 && a.left < b.right + 4 && b.left < a.right + 4)
        .map(([[one], [other]]) => one + ' ' + other);
    });
    const hidden = pictures.flatMap(picture => {
      const marks = [...picture.querySelectorAll('circle[fill=none], polygon, polyline[stroke-width="9"]')].map(mark => {
        const box = mark.getBoundingClientRect();
        return [box.left, box.top, box.width].map(Math.round).join(' ');
      });
      return marks.filter((mark, index) => marks.indexOf(mark) !== index);
    });
    const lines = pictures.flatMap(picture => [...picture.querySelectorAll('polyline')]).filter(line => line.getAttribute('stroke-width') === '8');
    const tiles = pictures.flatMap(picture => [...picture.querySelectorAll('path')]);
    const colors = [...lines.map(line => getComputedStyle(line).stroke), ...tiles.map(tile => getComputedStyle(tile).fill)];
    return {
      title: figure.querySelector('h3').textContent,
      label: pictures.length ? pictures[0].getAttribute('aria-label') : '',
      pictures: pictures.length,
      card: [card.left, card.right],
      box: boxes.length ? [boxes[0].left, boxes[0].right, boxes[0].height] : [],
      texts: pictures.flatMap(picture => [...picture.querySelectorAll('text')].map(text => text.textContent.trim())),
      outside,
      collisions,
      hidden,
      arrows: pictures.flatMap(picture => [...picture.querySelectorAll('polyline[stroke-width="9"]')]).length,
      lines: lines.length,
      // Each tint is a path with a tile for each `M`.
      tints: tiles.length,
      tiles: tiles.map(tile => tile.getAttribute('d').split('M').length - 1).reduce((sum, each) => sum + each, 0),
      faintest: Math.min(...colors.map(color => contrast(color, behind(figure)))),
    };
  });

  const first = document.querySelector('main').firstElementChild;
  const found = {
    width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    is_dark: matchMedia('(prefers-color-scheme: dark)').matches,
    background: luminance(behind(document.body)),
    title: document.title,
    language: document.documentElement.lang,
    first: first.className,
    heading: first.querySelector('h1').textContent,
    heading_size: parseFloat(getComputedStyle(first.querySelector('h1')).fontSize),
    loaded: performance.getEntriesByType('resource').length,
    scripts: document.scripts.length,
    was_evil: window.evil === true,
    text: document.querySelector('main').innerText.replace(/[<>&]/g, '?'),
    texts,
    broken,
    plots,
  };
  const into = parent.document.createElement('pre');
  into.textContent = 'PROBE-' + 'BEGIN' + JSON.stringify(found).replace(/[<>&]/g, '?') + 'PROBE-' + 'END';
  parent.document.body.append(into);
})();
