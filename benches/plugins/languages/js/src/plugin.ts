// Eight reads and six edits, or none.
import { definePlugin, integer, text, type Event } from "headworks-plugin";

const fields = {
  user_id: text(),
  platform: text(),
  url: text(),
  version: text("/device/os_version"),
  number: integer("/session/number"),
  screen: text("/screen/name"),
  network: text("/network/type"),
  load_ms: integer(),
};

export default definePlugin({
  configure(config) {
    return (config as { edits?: boolean }).edits === true;
  },
  transform({ data }: Event, edits: boolean) {
    if (!edits) {
      return data;
    }
    const { user_id, platform, url, version, number, screen, network, load_ms } = data.read(fields);
    return data
      .rename("/occurred_at", "/viewed_at")
      .rename("/anonymous_id", "/visitor_id")
      .remove("/consent")
      .set("/page", `${screen} ${url}`)
      .set("/os", `${platform} ${version} ${network}`)
      .set("/is_slow", number > 1 && load_ms > 400 && user_id !== "");
  },
});
