-- Matomo's actions and conversions as JSON lines, for `format: matomo` (docs/formats.md). MySQL 5.7.22, MariaDB 10.5:
--   mysql --quick --batch --raw --skip-column-names --default-character-set=utf8mb4 matomo < matomo.sql > actions.jsonl
-- Where tables have another prefix than matomo_, replace it. Add custom dimensions as 'dimension1', v.custom_dimension_1
-- (of the visit) or a.custom_dimension_1 (of the action), and WHERE v.visit_last_action_time >= '2024-01-01' for a part.
SELECT JSON_OBJECT(
  'idSite', v.idsite, 'idVisit', v.idvisit, 'visitorId', LOWER(HEX(v.idvisitor)), 'userId', v.user_id,
  'referrerType', CASE v.referer_type WHEN 1 THEN 'direct' WHEN 2 THEN 'search' WHEN 3 THEN 'website'
    WHEN 6 THEN 'campaign' WHEN 7 THEN 'social' END,
  'referrerName', v.referer_name, 'referrerKeyword', v.referer_keyword, 'referrerUrl', v.referer_url,
  'countryCode', v.location_country, 'languageCode', v.location_browser_lang, 'deviceType', v.config_device_type,
  'operatingSystemCode', v.config_os, 'browserCode', v.config_browser_name, 'siteCurrency', s.currency,
  'action', JSON_OBJECT(
    'type', CASE WHEN category.name IS NOT NULL THEN 'event' WHEN content.name IS NOT NULL THEN 'content' ELSE
      CASE COALESCE(url.type, name.type) WHEN 1 THEN 'action' WHEN 2 THEN 'outlink' WHEN 3 THEN 'download'
        WHEN 4 THEN 'action' WHEN 8 THEN 'search' ELSE 'other' END END,
    'serverTime', a.server_time, 'pageId', a.idlink_va, 'idpageview', a.idpageview,
    'pageviewPosition', a.pageview_position,
    'url', CONCAT(CASE url.url_prefix WHEN 0 THEN 'http://' WHEN 1 THEN 'http://www.' WHEN 2 THEN 'https://'
      WHEN 3 THEN 'https://www.' ELSE '' END, url.name),
    'pageTitle', CASE WHEN category.name IS NULL AND name.type = 4 THEN name.name END,
    'eventCategory', category.name, 'eventAction', deed.name,
    'eventName', CASE WHEN category.name IS NOT NULL THEN name.name END,
    'eventValue', CASE WHEN category.name IS NOT NULL THEN a.custom_float END,
    'contentName', content.name,
    'siteSearchKeyword', CASE WHEN name.type = 8 THEN name.name END,
    'productViewSku', sku.name, 'productViewName', product.name, 'productViewPrice', a.product_price))
FROM matomo_log_link_visit_action a
JOIN matomo_log_visit v ON v.idvisit = a.idvisit
JOIN matomo_site s ON s.idsite = v.idsite
LEFT JOIN matomo_log_action url ON url.idaction = a.idaction_url
LEFT JOIN matomo_log_action name ON name.idaction = a.idaction_name
LEFT JOIN matomo_log_action category ON category.idaction = a.idaction_event_category
LEFT JOIN matomo_log_action deed ON deed.idaction = a.idaction_event_action
LEFT JOIN matomo_log_action content ON content.idaction = a.idaction_content_name
LEFT JOIN matomo_log_action sku ON sku.idaction = a.idaction_product_sku
LEFT JOIN matomo_log_action product ON product.idaction = a.idaction_product_name
UNION ALL
SELECT JSON_OBJECT(
  'idSite', v.idsite, 'idVisit', v.idvisit, 'visitorId', LOWER(HEX(v.idvisitor)), 'userId', v.user_id,
  'countryCode', v.location_country, 'languageCode', v.location_browser_lang, 'deviceType', v.config_device_type,
  'operatingSystemCode', v.config_os, 'browserCode', v.config_browser_name, 'siteCurrency', s.currency,
  'action', JSON_OBJECT(
    'type', CASE c.idgoal WHEN 0 THEN 'ecommerceOrder' WHEN -1 THEN 'ecommerceAbandonedCart' ELSE 'goal' END,
    'serverTime', c.server_time, 'goalId', CASE WHEN c.idgoal > 0 THEN c.idgoal END, 'goalName', g.name,
    'goalPageId', CASE WHEN c.idgoal > 0 THEN c.idlink_va END, 'url', CASE WHEN c.idgoal > 0 THEN c.url END,
    'orderId', c.idorder, 'revenue', c.revenue, 'revenueSubTotal', c.revenue_subtotal, 'revenueTax', c.revenue_tax,
    'revenueShipping', c.revenue_shipping, 'revenueDiscount', c.revenue_discount,
    'itemDetails', (
      SELECT JSON_ARRAYAGG(JSON_OBJECT('itemSKU', sku.name, 'itemName', name.name, 'itemCategory', category.name,
        'price', i.price, 'quantity', i.quantity))
      FROM matomo_log_conversion_item i
      JOIN matomo_log_action sku ON sku.idaction = i.idaction_sku
      LEFT JOIN matomo_log_action name ON name.idaction = i.idaction_name
      LEFT JOIN matomo_log_action category ON category.idaction = i.idaction_category
      WHERE i.idvisit = c.idvisit AND i.deleted = 0 AND c.idgoal <= 0 AND i.idorder = COALESCE(c.idorder, '0'))))
FROM matomo_log_conversion c
JOIN matomo_log_visit v ON v.idvisit = c.idvisit
JOIN matomo_site s ON s.idsite = v.idsite
LEFT JOIN matomo_goal g ON g.idsite = c.idsite AND g.idgoal = c.idgoal;
