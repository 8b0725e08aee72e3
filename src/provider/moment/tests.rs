use super::*;

fn at(minutes: i64) -> Time {
    Time::UNIX_EPOCH + Span::days(20_000) + Span::minutes(minutes)
}

fn told(minutes: i64) -> ProviderTime {
    ProviderTime::told(at(minutes))
}

/// A moment of an answer whose header and whose own moments were so many minutes ahead of ours.
fn answer(minutes: i64, header: Option<i64>, ahead: Option<i64>) -> ProviderTime {
    ProviderTime::new(at(minutes), header.map(Span::minutes), ahead.map(Span::minutes))
}

fn seen(minutes: i64) -> ProviderClock {
    ProviderClock::seen(Span::minutes(minutes))
}

/// What a moment may be on our clock if it is after `from`, in minutes.
fn readings(clock: ProviderClock, moment: ProviderTime, from: i64) -> Vec<i64> {
    clock.readings(moment).after(at(from)).into_iter().map(|time| (time - at(0)).num_minutes()).collect()
}

#[test]
fn a_moment_is_read_by_every_clock_that_may_have_told_it() {
    for (sentence, clock, moment, expected) in [
        ("nothing is known: our own clock", ProviderClock::Unseen, told(60), vec![60]),
        ("nor do answers without a date say more", ProviderClock::Silent, told(60), vec![60]),
        ("the clocks agree", seen(0), told(60), vec![60]),
        ("theirs is ahead: earlier", seen(10), told(60), vec![50, 60]),
        ("theirs is behind: not later than by ours", seen(-10), told(60), vec![60, 70]),
        ("its own answer was another node's", seen(0), answer(60, Some(10), None), vec![50, 60]),
        (
            "its own answer tells of a clock not seen yet",
            ProviderClock::Unseen,
            answer(60, Some(10), None),
            vec![50, 60],
        ),
        ("the answer itself shows its clock, ahead", seen(0), answer(60, Some(0), Some(10)), vec![50]),
        ("and behind: not later than by ours", seen(0), answer(60, Some(0), Some(-10)), vec![60, 70]),
        ("the answer contradicts the header, which is a proxy's", seen(30), answer(60, Some(30), Some(0)), vec![60]),
        ("seconds from an answer on are ours", seen(30), answer(60, Some(30), Some(0)), vec![60]),
        ("our clock was set back since by 20", seen(50), answer(60, Some(30), Some(0)), vec![40, 60]),
        ("a lifetime that was asked for is ours", seen(30), ProviderTime::ours(at(60)), vec![60]),
    ] {
        assert_eq!(readings(clock, moment, i64::MIN / 100_000_000_000), expected, "{sentence}");
    }
}

#[test]
fn what_has_begun_has_not_ended_before() {
    for (sentence, clock, moment, expected) in [
        ("a zone that is off by an hour", seen(0), told(-30), vec![]),
        ("the year 1", seen(0), ProviderTime::told("0001-01-01T00:00:00Z".parse().unwrap()), vec![]),
        ("a header that is off by more than the life", seen(90), told(60), vec![60]),
        ("a clock that is behind by more than the life", seen(-90), told(-30), vec![60]),
        ("`created` is in a zone of its own, and `expires` is not", seen(0), answer(60, Some(0), Some(90)), vec![60]),
    ] {
        assert_eq!(readings(clock, moment, 0), expected, "{sentence}");
    }
}

#[test]
fn a_mint_shows_the_clock_that_wrote_it() {
    let shown = |header: Option<i64>, created: Option<i64>, expires: i64, asked: Option<i64>| {
        let received = Received { at: at(0), header: header.map(Span::minutes) };
        let ahead = shown_ahead(received, created.map(at), Some(at(expires)), asked.map(Span::minutes));
        ahead.map(|ahead| ahead.num_minutes())
    };
    for (sentence, told, expected) in [
        ("nothing but an expiry", shown(Some(0), None, 60, None), None),
        ("created now, header or not", shown(None, Some(0), 60, None), Some(0)),
        ("created now, and the header is a proxy's", shown(Some(90), Some(0), 60, None), Some(0)),
        ("created in another zone", shown(Some(0), Some(120), 180, None), Some(120)),
        ("created days ahead, like the header", shown(Some(9999), Some(9999), 0, None), Some(9999)),
        ("created in 1970 says nothing", shown(Some(0), Some(-28_000_000), 60, None), None),
        ("what was asked for, by our clock", shown(Some(90), None, 60, Some(60)), Some(0)),
        ("what was asked for, by the header's", shown(Some(90), None, 150, Some(60)), Some(90)),
        ("another life than was asked for says nothing", shown(Some(0), None, 180, Some(60)), None),
    ] {
        assert_eq!(told, expected, "{sentence}");
    }
}

#[test]
fn a_wait_ends_by_the_clock_that_ends_it_first_and_is_bounded() {
    let until = |header: Option<i64>, moment: ProviderTime| {
        let received = Received { at: at(0), header: header.map(Span::minutes) };
        (received.wait_until(moment, Span::hours(24)) - at(0)).num_minutes()
    };
    for (sentence, told, expected) in [
        ("by the clock of its own answer", until(Some(120), told(125)), 5),
        ("a provider that is behind", until(Some(-120), told(-115)), 5),
        ("a header of a proxy", until(Some(120), told(10)), 10),
        ("in the past by every clock", until(Some(0), told(-10)), 0),
        ("in ten years", until(None, told(5_000_000)), 24 * 60),
    ] {
        assert_eq!(told, expected, "{sentence}");
    }
}

#[test]
fn what_is_stored_is_read_again_and_what_was_stored_before_too() {
    for moment in [told(1), answer(1, Some(0), None), answer(1, Some(0), Some(0)), answer(1, Some(7), None)] {
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(serde_json::from_str::<ProviderTime>(&text).unwrap(), moment, "{text}");
    }
    let text = serde_json::to_string(&answer(1, Some(0), None)).unwrap();
    assert_eq!(text, "\"2024-10-04T00:01:00Z\"", "clocks that agree leave the form that older journals have");
    let shown = serde_json::to_value(answer(1, Some(7), Some(-2))).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({ "told": "2024-10-04T00:01:00Z", "header-ms": 420_000, "ahead-ms": -120_000 })
    );
}
