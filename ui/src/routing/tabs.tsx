/** Owns the links between the pages of routing. */

import { Tabs } from '../parts/tabs.tsx';
import { t } from '../texts.ts';

/** Queues, rules, and what was sent. */
export function RoutingTabs() {
  const { tabs, label } = t.queues;
  return (
    <Tabs
      label={label}
      of={[
        { to: 'routing', title: tabs.queues },
        { to: 'rules', title: tabs.rules },
        { to: 'exports', title: tabs.exports },
      ]}
    />
  );
}
