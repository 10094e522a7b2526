// What bots look at is nobody's interest: dropped and counted. All else passes as it was sent.
import { count, json, readConfig, text, type Event } from "headworks-plugin";

export const dropBots = {
  configure(config: unknown) {
    // Words of their user agents, in lower case.
    const words = readConfig(config, { words: json() }).words as string[];
    if (words.length === 0) {
      throw new Error("words is empty: nothing would be dropped");
    }
    return words;
  },

  transform({ data }: Event, words: string[]) {
    const { agent } = data.read({ agent: text("/user_agent").or("") });
    const lower = agent.toLowerCase();
    if (words.some((word) => lower.includes(word))) {
      count("bots");
      return [];
    }
    return data;
  },
};
