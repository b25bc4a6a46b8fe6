"""User agents as they are met: machines by the reason that their name gives, and people."""

BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"

MACHINES: dict[str, tuple[str, ...]] = {
    "ua_parser_spider": (
        f"Mozilla/5.0 {BLINK}; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        f"Mozilla/5.0 {BLINK}; compatible; Claude-SearchBot/1.0; +Claude-SearchBot@anthropic.com)",
        f"Mozilla/5.0 {BLINK}; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
        f"Mozilla/5.0 {BLINK}; compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot",
        f"Mozilla/5.0 {BLINK}; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "meta-webindexer/1.1",
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) {BLINK} (compatible; Amazonbot/0.1; "
            "+https://developer.amazon.com/support/amazonbot)"
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/13.1.1 Safari/605.1.15 (Applebot/0.1)"
        ),
        "CCBot/2.0 (https://commoncrawl.org/faq/)",
        "DuckAssistBot/1.2; (+http://duckduckgo.com/duckassistbot.html)",
        f"Mozilla/5.0 {BLINK}; compatible; YouBot/1.0; +https://about.you.com/youbot/",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "AdsBot-Google (+http://www.google.com/adsbot.html)",
        "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
        "GoogleProducer; (+https://developers.google.com/search/docs/crawling-indexing/google-producer)",
        "Google-CloudVertexBot",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/79.0.3945.88 Safari/537.36 Google Favicon",
        "Storebot-Google/1.0",
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
        (
            f"Mozilla/5.0 (Unknown; Linux x86_64) {BLINK} PingdomPageSpeed/1.0 (pingbot/2.0; "
            "+http://www.pingdom.com/) Safari/538.1"
        ),
        "PingdomTMS/0.8.5",
        f"Mozilla/5.0 (Windows NT 10.0; WOW64) {BLINK} Chrome/98.0.4758.102 Safari/537.36 (StatusCake)",
        "StatusCake_Pagespeed_indev",
        "Python-urllib/3.11",
        "python-urllib3/2.0",
        "Java/17.0.2",
        "Scrapy/2.11.0 (+https://scrapy.org)",
        "WordPress/6.4.2; https://blog.example",
        "Better Uptime Bot Mozilla/5.0",
        "Better Stack Better Uptime Bot",
        "HetrixTools Uptime Monitoring Bot. https://hetrix.tools/uptime-monitoring-bot.html",
        f"Mozilla/5.0 (Linux; Android 8.1.0; Moto G (4)) {BLINK} Chrome/120.0.0.0 Mobile Safari/537.36 PTST/231114",
        "masscan/1.3",
        "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
        "SiteAuditBot/0.97",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Mozilla/5.0 (compatible; AhrefsSiteAudit/6.1; +http://ahrefs.com/robot/site-audit)",
        "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)",
        "Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot)",
        "Mozilla/5.0 (compatible; DataForSeoBot/1.0)",
        "Screaming Frog SEO Spider/19.4",
        "Mozilla/5.0 (compatible; Barkrowler/0.9; +https://babbar.tech/crawler)",
        "serpstatbot/2.1",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "WhatsApp/2.23.20.0 A",
        "WhatsApp/2.2336.9 N",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Slack-ImgProxy (+https://api.slack.com/robots)",
        "Twitterbot/1.0",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "TelegramBot (like TwitterBot)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
        "Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)",
        "http.rb/5.1.1 (Mastodon/4.2.3; +https://mastodon.social/) Bot",
        "facebookexternalhit/1.1;kakaotalk-scrap/1.0",
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        (
            f"Mozilla/5.0 {BLINK}; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) "
            "Chrome/116.0.1938.76 Safari/537.36"
        ),
        f"Mozilla/5.0 (Windows NT 6.1; WOW64) {BLINK} (compatible; BingPreview/1.0b)",
        "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        "Mozilla/5.0 (compatible; YandexMetrika/2.0; +http://yandex.com/bots)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
        "Mozilla/5.0 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
        "Mozilla/5.0 (compatible; SeznamBot/4.0; +http://napoveda.seznam.cz/seznambot-intro/)",
        "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
        "Mozilla/5.0 (compatible; heritrix/3.4 +https://archive.org)",
        "Mozilla/5.0 (compatible; proximic; +https://www.comscore.com/Web-Crawler)",
        "Mozilla/5.0 (compatible; TrendictionBot)",
    ),
    "ai_agent": (
        f"Mozilla/5.0 {BLINK}; compatible; Claude-User/1.0; +Claude-User@anthropic.com)",
        "Claude-Web/1.0",
        f"Mozilla/5.0 {BLINK}; compatible; Perplexity-User/1.0; +https://perplexity.ai/perplexity-user)",
        f"Mozilla/5.0 {BLINK}; compatible; ChatGPT-User/1.0; +https://openai.com/bot",
        "meta-externalfetcher/1.1",
        "Amzn-User/0.1",
        "Mozilla/5.0 (compatible; MistralAI-User/1.0; +https://docs.mistral.ai/robots)",
        "cohere-ai",
        "Mozilla/5.0 (compatible; Gemini-Deep-Research; +https://gemini.google/overview/deep-research/)",
        "Mozilla/5.0 (compatible; Google-NotebookLM)",
        "Google-NotebookLM",
        f"Mozilla/5.0 (Linux; Android 13) {BLINK} Chrome/139.0 Safari/537.36 (compatible; Manus-User/1.0)",
    ),
    "crawler": (
        "GoogleOther",
        (
            f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {BLINK} Chrome/120.0.0.0 Mobile "
            "Safari/537.36 (compatible; GoogleOther)"
        ),
        "GoogleOther-Image/1.0",
        "anthropic-ai",
        f"Mozilla/5.0 (Linux; Android 5.0) {BLINK} (compatible; Bytespider; spider-feedback@bytedance.com)",
        (
            f"Mozilla/5.0 (Linux; Android 7.0; SM-G930V) {BLINK} Chrome/59.0.3071.125 Mobile Safari/537.36 "
            "(compatible; Google-Read-Aloud; +https://support.google.com/webmasters/answer/1061943)"
        ),
        "APIs-Google (+https://developers.google.com/webmasters/APIs-Google.html)",
        "Google-Safety",
        "Mozilla/5.0 (compatible; Google-Site-Verification/1.0)",
        "DuplexWeb-Google/1.0",
        "Mozilla/5.0 (compatible; W3C_Validator/1.3)",
        "Mozilla/5.0 (compatible;Cloudflare-AlwaysOnline/1.0)",
        "Mozilla/5.0 (compatible; Let's Encrypt validation server; +https://www.letsencrypt.org)",
        "ias-va/3.3 (former https://www.admantx.com + https://integralads.com/about-ias/)",
        "Mozilla/5.0 (compatible; Dataprovider.com)",
    ),
    "headless": (
        (
            f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} HeadlessChrome/123.0.0.0 Safari/537.36 (compatible; "
            "NewRelicSynthetics/1.0)"
        ),
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} HeadlessChrome/120.0.6099.0 Safari/537.36",
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
        "Playwright/1.40.0 (x64; ubuntu 22.04) node/18.18",
        "puppeteer/21.0",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 Cypress/13.6.0",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 TestCafe",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} HeadlessChrome/120 Safari/537.36 RuxitSynthetic/1.0 v1",
    ),
    "http_library": (
        "curl/8.4.0",
        "Wget/1.21.4",
        "python-requests/2.31.0",
        "Python/3.11 aiohttp/3.9.1",
        "python-httpx/0.27.0",
        "Go-http-client/2.0",
        "Java-http-client/17.0.2",
        "axios/1.6.2",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "undici",
        "Deno/1.40.0",
        "Bun/1.0.20",
        "PostmanRuntime/7.36.0",
        "insomnia/2023.5.8",
        "Apache-HttpClient/4.5.14 (Java/17.0.9)",
        "Apache-HttpAsyncClient/4.1.4 (Java/11)",
        "libwww-perl/6.67",
        "WWW-Mechanize/2.00",
        "got (https://github.com/sindresorhus/got)",
        "GuzzleHttp/7",
        "Ruby",
        "Faraday v2.7.4",
        "http.rb/5.1.1",
        "rest-client/2.1.0 (linux x86_64) ruby/3.2.2",
        "Typhoeus - https://github.com/typhoeus/typhoeus",
        "HTTPie/3.2.2",
        "reqwest/0.11",
        "ureq/2.9",
        "hyper/1.0",
        "RestSharp/110.2.0.0",
        "Jakarta Commons-HttpClient/3.1",
        "ReactorNetty/1.1.13",
        "Vert.x-WebClient/4.5",
        "AHC/2.1",
        "colly - https://github.com/gocolly/colly",
        "fasthttp",
        "resty/2.11 (https://github.com/go-resty/resty)",
        "libcurl/7.88",
        "PycURL/7.45",
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.3803",
        "PowerShell/7.4.0",
        "aria2/1.36.0",
        "lwp-trivial/1.41",
        "HTTP_Request2/2.5.1",
        "Symfony HttpClient (Curl)",
        "Drupal (+http://drupal.org/)",
        "Apache-CXF/3.5",
        "W3C-checklink/4.81 libwww-perl/6.67",
        "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "GitHub-Hookshot/abc123",
    ),
    "monitoring": (
        "Prometheus/2.51.2",
        "Prometheus/v2.51.2",
        "k6/0.49.0 (https://k6.io/)",
        "Grafana k6/1.0.0",
        "Elastic-Heartbeat/8.13.0 (linux; amd64; abc; 2024-03-20 00:00:00 +0000 UTC)",
        "NewRelic/1.0",
        "NewRelicPinger/1.0 (1234)",
        "Site24x7",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/121.0.0.0 Safari/537.36 DatadogSynthetics",
        "Datadog/Synthetics",
        "Datadog Agent/7.50.0",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/117.0.0.0 Safari/537.36 GTmetrix",
        (
            f"Mozilla/5.0 (Linux; Android 11; moto g power (2022)) {BLINK} Chrome/109.0.0.0 Mobile "
            "Safari/537.36 Chrome-Lighthouse"
        ),
        "Blackbox Exporter/0.24.0",
        "Blackbox-Exporter/0.25",
        "kube-probe/1.28",
        "ELB-HealthChecker/2.0",
        "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1vsZADi)",
        "GoogleHC/1.0",
        "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
        "Zabbix",
        "Zabbix 6.4",
        "check_http/v2.3.3 (nagios-plugins 2.3.3)",
        "Checkly/1.0 (https://www.checklyhq.com)",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 Checkly, https://www.checklyhq.com",
        "Uptime-Kuma/1.23.11",
        "updown.io daemon 2.11",
        "Freshping/1.0",
        "Catchpoint",
        "AppInsights",
        "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; AppInsights)",
        "Azure Traffic Manager Endpoint Monitor",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 DynatraceSynthetic",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 SpeedCurve/1.0 PTST/SpeedCurve",
        f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/120 Safari/537.36 DebugBear",
        "Varnish Health Probe",
        "HAProxy",
        "Consul Health Check",
        "Icinga/check_http",
        "Monit/5.33.0",
        "Gatling/3.10",
        "Apache JMeter/5.6",
        "ApacheBench/2.3",
        "hey/0.0.1",
        "vegeta/12",
        "Locust/2.0",
        "Artillery (https://artillery.io)",
        "wrk/4.2",
        "Siege/4.1",
        "Mozilla/5.0 (compatible; Cloudflare-Healthchecks/1.0; +https://www.cloudflare.com/)",
    ),
    "scanner": (
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
        "sqlmap/1.7.2#stable (https://sqlmap.org)",
        "Nikto/2.5.0",
        "Mozilla/5.00 (Nikto/2.1.6)",
        "WPScan v3.8.25",
        "Mozilla/5.0 zgrab/0.x",
        "Expanse, a Palo Alto Networks company, searches across the global IPv4 space",
        "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)",
        "Mozilla/5.0 (compatible; InternetMeasurement/1.0; +https://internet-measurement.com/)",
    ),
    "feed_reader": (
        "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)",
        "Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)",
        "Tiny Tiny RSS/23.05",
        "NetNewsWire (RSS Reader; https://netnewswire.com/)",
        "Miniflux/2.0.51",
        "FreshRSS/1.23.1 (Linux; https://freshrss.org)",
        "Inoreader/1.0 (+http://www.inoreader.com/feed-fetcher; 10 subscribers; )",
    ),
    "preview": (
        "Mediapartners-Google",
        "facebookcatalog/1.0",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
        "Bluesky Cardyb/1.1; +mailto:support@bsky.app",
        "Mastodon/4.2.3 (http.rb/5.1.1; +https://mastodon.social/)",
        "Iframely/1.3.1 (+https://iframely.com/docs/about)",
        "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)",
        "XING-contenttabreceiver/2.0",
        "kakaotalk-scrap/1.0; +https://devtalk.kakao.com/t/scrap/33984",
    ),
}

PEOPLE = (
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/134.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/134.0.0.0 Safari/537.36 Edg/134.0.0.0",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/134.0.0.0 Safari/537.36 OPR/117.0.0.0",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/134.0.0.0 Safari/537.36 Vivaldi/7.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:136.0) Gecko/20100101 Firefox/136.0",
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.3 Safari/605.1.15"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Version/18.3 Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " CriOS/134.0 Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " GSA/360.1 Mobile/15E148 Safari/604.1"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Mobile/15E148 Instagram 370.0.0.24.78 (iPhone14,5; iOS 18_3; de_DE; de; scale=3.00; 1170x2532;"
        " 1)"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Mobile/15E148 "
        "[FBAN/FBIOS;FBAV/500.0.0.40;FBBV/1;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/18.3;FBSS/3;FBLC/de_DE;FBOP/5]"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A; wv) {BLINK} Version/4.0 Chrome/134.0.0.0 "
        "Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/500.0;]"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UP1A; wv) {BLINK} Version/4.0 Chrome/134.0.0.0 "
        "Mobile Safari/537.36 musical_ly_2023 BytedanceWebview/d8a21c6 trill_350"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0.0.0 Mobile "
        "Safari/537.36 Line/14.1.0/IAB"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0 Mobile "
        "Safari/537.36 MicroMessenger/8.0.40 NetType/WIFI"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0 Mobile "
        "Safari/537.36 Snapchat/12.80"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0 Mobile "
        "Safari/537.36 [Pinterest/Android]"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0 Mobile "
        "Safari/537.36 KAKAOTALK 10.4.5 (INAPP)"
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-A536B; wv) {BLINK} Version/4.0 Chrome/134.0 Mobile "
        "Safari/537.36 BOTIM/3.1.0"
    ),
    f"Mozilla/5.0 (Linux; Android 10; K) {BLINK} Chrome/134.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 6.0; Lenovo K6 Power Build/MRA58K) {BLINK} Chrome/70.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) {BLINK} Chrome/120.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 9; CUBOT_X19 Build/PPR1) {BLINK} Chrome/120.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; U; Android 4.4; en-us; Cubot S208) {BLINK} Chrome/33.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; K) {BLINK} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 13; HUAWEI) {BLINK} Chrome/114 HuaweiBrowser/15 Mobile Safari/537.36",
    (
        f"Mozilla/5.0 (Linux; U; Android 13; en-us; M2101K6G) {BLINK} Version/4.0 Chrome/112 Mobile "
        "Safari/537.36 XiaoMi/MiuiBrowser/17.2"
    ),
    f"Mozilla/5.0 (Linux; Android 13; K) {BLINK} UCBrowser/15 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 13) {BLINK} DuckDuckGo/5 Chrome/134 Mobile Safari/537.36",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {BLINK} Chrome/134.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0",
    f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Ubuntu Chromium/120 Chrome/120 Safari/537.36",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1; Trident/6.0)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727; http://bsalsa.com)",
    "Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5.4 (like Gecko)",
    "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10",
    f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {BLINK} 76.0.3809.146/6.0 TV Safari/537.36",
    f"Mozilla/5.0 (Linux; Tizen 7.0; Smart Monitor M8) {BLINK} Chrome/94 TV Safari/537.36",
    f"Mozilla/5.0 (Web0S; Linux/SmartTV) {BLINK} Chrome/94.0 Safari/537.36 WebAppManager",
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/15.4 Safari/605.1.15"
    ),
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Slack/4.36 Chrome/120 Electron/28 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} discord/1.0.9 Chrome/120 Electron/28 Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} ChatGPT/1.2025 Chrome/134 Electron/34 Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {BLINK} Claude/0.9 Chrome/134 Electron/34 Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {BLINK} Chrome/134 Safari/537.36 Perplexity/1.0",
    f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Chrome/134 Safari/537.36 Brave/134",
    "okhttp/4.12.0",
    "okhttp/5.0.0-alpha.11",
    "acme-shop/3.4 (Android 14; okhttp/4.12.0)",
    "AcmeShop/5.1 CFNetwork/1494.0.7 Darwin/23.4.0",
    "AcmeShop/5.1 (com.acme.shop; build:12; iOS 17.4.1) Alamofire/5.8.1",
    "Spider/6.4 CFNetwork/1494.0.7 Darwin/23.4.0",
    "SpiderSolitaire/6.4 CFNetwork/1494.0.7 Darwin/23.4.0",
    "BabyMonitor/3.2 CFNetwork/1494.0.7 Darwin/23.4.0",
    "iRobot/7.1 CFNetwork/1494.0.7 Darwin/23.4.0",
    "iRobot Home/7.1 CFNetwork/1494.0.7 Darwin/23.4.0",
    "LibreLink Abbott/2.8 (Android 13)",
    "Dalvik/2.1.0 (Linux; U; Android 13; SM-A536B Build/TP1A.220624.014)",
    "Dalvik/2.1.0 (Linux; U; Android 9; CUBOT_POWER Build/O11019)",
    "Dart/3.2 (dart:io)",
    "ktor-client",
    "Ktor client",
    "AppleCoreMedia/1.0.0.21C62 (iPhone; U; CPU OS 17_2 like Mac OS X; en_us)",
    "Amazon CloudFront",
    "ExoPlayerLib/2.18",
    "VLC/3.0.20 LibVLC/3.0.20",
    "Spotify/8.9 Android/33 (Pixel 7)",
)
