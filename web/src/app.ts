// What the views share: the release everything is shown as of.

export interface View {
    /** Called whenever the view comes to the front, and when the release changes while it is there. */
    show(): void;
}

type Listener = () => void;

class AppState {
    /** Release id chosen by the user; null: the newest. */
    asOf: number | null = null;
    private readonly listeners: Listener[] = [];

    onChange(listener: Listener): void {
        this.listeners.push(listener);
    }

    setAsOf(release: number | null): void {
        if (this.asOf === release) return;
        this.asOf = release;
        for (const listener of this.listeners) listener();
    }
}

export const app = new AppState();

export function goTo(view: string): void {
    window.location.hash = `#/${view}`;
}
