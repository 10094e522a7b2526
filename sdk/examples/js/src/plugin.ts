// Picks the example that the configuration names.
import { definePlugin, type Event, type Output } from "headworks-plugin";

import { dropBots } from "./drop-bots";
import { splitOrder } from "./split-order";
import { tidyOrder } from "./tidy-order";

type Transform = (event: Event) => Output | readonly Output[];

const examples: Record<string, (config: unknown) => Transform> = {
  "drop-bots": (config) => {
    const state = dropBots.configure(config);
    return (event) => dropBots.transform(event, state);
  },
  "split-order": (config) => {
    const state = splitOrder.configure(config);
    return (event) => splitOrder.transform(event, state);
  },
  "tidy-order": (config) => {
    const state = tidyOrder.configure(config);
    return (event) => tidyOrder.transform(event, state);
  },
};

export default definePlugin<Transform>({
  configure(config) {
    const { example, ...rest } = config as { example: string };
    const make = examples[example];
    if (make === undefined) {
      throw new Error(`example is one of ${Object.keys(examples).join(", ")}`);
    }
    return make(rest);
  },

  transform: (event, transform) => transform(event),
});
