// Elements by plain calls. Text is only ever set as text: nothing here parses markup.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>;

function apply(element: Element, attributes: Attributes): void {
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false) continue;
        if (typeof value === 'function') {
            element.addEventListener(name.replace(/^on/, ''), value);
        } else {
            element.setAttribute(name, value === true ? '' : String(value));
        }
    }
}

/** An element. Attributes that are functions become listeners: {onclick: …}. Strings become text nodes. */
export function h<K extends keyof HTMLElementTagNameMap>(
    tag: K,
    attributes: Attributes = {},
    ...children: Child[]
): HTMLElementTagNameMap[K] {
    const element = document.createElement(tag);
    apply(element, attributes);
    append(element, ...children);
    return element;
}

export function append(parent: Element, ...children: Child[]): void {
    for (const child of children) {
        if (child === null || child === undefined || child === false) continue;
        parent.append(child);
    }
}

export function replace(parent: Element, ...children: Child[]): void {
    parent.replaceChildren();
    append(parent, ...children);
}

const shapes = {
    send: 'M12 19V5M5 12l7-7 7 7',
    stop: 'M7 7h10v10H7z',
    close: 'M6 6l12 12M18 6L6 18',
    check: 'M5 13l4 4L19 7',
    cross: 'M6 6l12 12M18 6L6 18',
    filter: 'M4 6h16M7 12h10M10 18h4',
    download: 'M12 4v11m0 0l-4-4m4 4l4-4M5 20h14',
    copy: 'M9 9h10v10H9zM5 15V5h10',
    chevron: 'M9 6l6 6-6 6',
    shield: 'M12 3l7 3v5c0 4.5-3 8-7 10-4-2-7-5.5-7-10V6z',
    warning: 'M12 4L2.8 20h18.4zM12 10v4M12 17v.2',
    file: 'M7 3h7l5 5v13H7zM14 3v5h5',
    clock: 'M12 7v5l3 2M12 21a9 9 0 100-18 9 9 0 000 18z',
    play: 'M8 5l11 7-11 7z',
} as const;
export type Icon = keyof typeof shapes;

export function icon(name: Icon): SVGSVGElement {
    const space = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(space, 'svg');
    apply(svg, { viewBox: '0 0 24 24', class: `icon icon-${name}`, 'aria-hidden': 'true', focusable: 'false' });
    const path = document.createElementNS(space, 'path');
    path.setAttribute('d', shapes[name]);
    svg.append(path);
    return svg;
}

export function byId<T extends HTMLElement>(id: string): T {
    const element = document.getElementById(id);
    if (!element) throw new Error(`the page has no #${id}`);
    return element as T;
}
