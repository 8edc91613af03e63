"""Every formula again, as float64 loops written from the papers, without imports of msdn_lit.

Equation numbers are those of the paper. Matrices have the names of their form: W_1..W_4 of the
release are not the W_1..W_4, W_att of the paper. V holds the attribute vectors (K, E),
F the regions (B, R, D), Z the class vectors (C, K), L the logits (B, C).
"""

import math

import numpy as np


def unit(vector):
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return np.array([float(x) / length if length > 0 else 0.0 for x in vector])


def unit_rows(matrix):
    return np.array([unit(row) for row in matrix])


def softmax(values):
    top = max(values)
    exponentials = [math.exp(x - top) for x in values]
    return [x / sum(exponentials) for x in exponentials]


def log_softmax(values):
    top = max(values)
    log_total = top + math.log(sum(math.exp(x - top) for x in values))
    return [x - log_total for x in values]


# --- 2.1 the release's sub-nets -> scores (B, K), attention (B, K, R)


def release_attribute_to_visual(V, W_1, W_2, F):
    """score_k = sum_r A_kr (a_k W_1 v_r), A = softmax over regions of a_k W_2 v_r."""
    (B, R, _), K = F.shape, len(V)
    scores, attention = np.zeros((B, K)), np.zeros((B, K, R))
    for b in range(B):
        for k in range(K):
            attention[b, k] = softmax([V[k] @ W_2 @ F[b, r] for r in range(R)])
            scores[b, k] = sum(attention[b, k, r] * (V[k] @ W_1 @ F[b, r]) for r in range(R))
    return scores, attention


def release_visual_to_attribute(V, W_3, W_4, F):
    """score_k = sum_r A_kr (v_r W_3 a_k), A = softmax over attributes of a_k W_4 v_r."""
    (B, R, _), K = F.shape, len(V)
    scores, attention = np.zeros((B, K)), np.zeros((B, K, R))
    for b in range(B):
        for r in range(R):
            attention[b, :, r] = softmax([V[k] @ W_4 @ F[b, r] for k in range(K)])
            for k in range(K):
                scores[b, k] += attention[b, k, r] * (F[b, r] @ W_3 @ V[k])
    return scores, attention


# --- 2.2 the paper's sub-nets; `over` names the axis along which an attention sums to one


def normalised(compatibility_KR, over):
    K, R = compatibility_KR.shape
    result = np.zeros((K, R))
    if over == "regions":
        for k in range(K):
            result[k] = softmax(compatibility_KR[k])
    elif over == "attributes":
        for r in range(R):
            result[:, r] = softmax(compatibility_KR[:, r])
    else:
        raise ValueError(over)
    return result


def paper_attribute_to_visual(V, W_1, W_2, F, over="regions"):
    """(1) attention from W_1; (2) F_k = sum_r beta_kr v_r; (3) psi_k = a_k W_2 F_k."""
    (B, R, D), K = F.shape, len(V)
    scores, attention = np.zeros((B, K)), np.zeros((B, K, R))
    for b in range(B):
        attention[b] = normalised(
            np.array([[V[k] @ W_1 @ F[b, r] for r in range(R)] for k in range(K)]), over
        )
        for k in range(K):
            feature_D = np.zeros(D)
            for r in range(R):
                feature_D += attention[b, k, r] * F[b, r]
            scores[b, k] = V[k] @ W_2 @ feature_D
    return scores, attention


def paper_visual_to_attribute(V, W_3, W_4, W_att, F, over="attributes"):
    """(4) attention from W_3; (5) S_r = sum_k gamma_kr a_k; (6) Psi'_r = v_r W_4 S_r; (7)."""
    (B, R, _), (K, E) = F.shape, V.shape
    scores, attention = np.zeros((B, K)), np.zeros((B, K, R))
    for b in range(B):
        attention[b] = normalised(
            np.array([[F[b, r] @ W_3 @ V[k] for r in range(R)] for k in range(K)]), over
        )
        for r in range(R):
            semantic_E = np.zeros(E)
            for k in range(K):
                semantic_E += attention[b, k, r] * V[k]
            region_score = F[b, r] @ W_4 @ semantic_E
            for k in range(K):
                scores[b, k] += (V[k] @ W_att @ F[b, r]) * region_score
    return scores, attention


def class_logits(scores, Z):
    return np.array(
        [
            [sum(s * z for s, z in zip(row, class_row, strict=True)) for class_row in Z]
            for row in scores
        ]
    )


# --- 3 and 4: logits (B, C); every term sees only the candidates seen + unseen


def with_margin(L, seen, unseen, gamma=1.0):
    """+gamma on unseen, -gamma on seen classes."""
    result = np.array(L, dtype=np.float64)
    for c in seen:
        result[:, c] -= gamma
    for c in unseen:
        result[:, c] += gamma
    return result


def log_probabilities(row, classes):
    """By class id: log-softmax over the given classes."""
    return dict(zip(classes, log_softmax([float(row[c]) for c in classes]), strict=True))


def cross_entropy(L, labels, classes):
    return -sum(log_probabilities(row, classes)[y] for row, y in zip(L, labels, strict=True)) / len(
        L
    )


def cross_entropy_release(L, labels, seen, unseen):
    return cross_entropy(L, labels, [*seen, *unseen])


def cross_entropy_paper(L, labels, seen, unseen):
    return cross_entropy(L, labels, list(seen))


def self_calibration_release(L, seen, unseen):
    """-log of the batch mean of the unseen classes' probability, as a log-sum-exp."""
    logs = [log_probabilities(row, [*seen, *unseen])[c] for row in L for c in unseen]
    top = max(logs)
    return -(top + math.log(sum(math.exp(x - top) for x in logs) / len(L)))


def self_calibration_paper(L, seen, unseen):
    return sum(-log_probabilities(row, [*seen, *unseen])[c] for row in L for c in unseen) / len(L)


def cubic_distance(L1, L2, classes):
    """Mean of ||d||_3^3 / ||d||_2; 0 where d = 0."""
    total = 0.0
    for first, second in zip(L1, L2, strict=True):
        d = [float(first[c]) - float(second[c]) for c in classes]
        largest = max(abs(x) for x in d)
        if largest > 0:
            scaled = [abs(x) / largest for x in d]
            total += largest**2 * sum(x**3 for x in scaled) / math.sqrt(sum(x**2 for x in scaled))
    return total / len(L1)


def kullback_leibler(log_p, log_q):
    return sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))


def jensen_shannon_rows(log_p, log_q):
    log_mean = [
        max(p, q) + math.log((1 + math.exp(-abs(p - q))) / 2)
        for p, q in zip(log_p, log_q, strict=True)
    ]
    return (kullback_leibler(log_p, log_mean) + kullback_leibler(log_q, log_mean)) / 2


def jensen_shannon(L1, L2, classes):
    return sum(
        jensen_shannon_rows(
            [*log_probabilities(a, classes).values()], [*log_probabilities(b, classes).values()]
        )
        for a, b in zip(L1, L2, strict=True)
    ) / len(L1)


def distillation_release(L1, L2, seen, unseen):
    classes = [*seen, *unseen]
    return cubic_distance(L1, L2, classes) + jensen_shannon(L1, L2, classes)


def distillation_paper(L1, L2, seen, unseen):
    total = 0.0
    for a, b in zip(L1, L2, strict=True):
        log_p = [*log_probabilities(a, [*seen, *unseen]).values()]
        log_q = [*log_probabilities(b, [*seen, *unseen]).values()]
        total += (kullback_leibler(log_p, log_q) + kullback_leibler(log_q, log_p)) / 2
        total += sum((math.exp(p) - math.exp(q)) ** 2 for p, q in zip(log_p, log_q, strict=True))
    return total / len(L1)


def total_loss(form, logits, labels, seen, unseen, *, lambda_cal, lambda_distill, gamma=1.0):
    """Returns (loss, CE, SC, distillation) of logits without margin, one array per sub-net."""
    terms = {
        "release": (cross_entropy_release, self_calibration_release, distillation_release),
        "paper": (cross_entropy_paper, self_calibration_paper, distillation_paper),
    }
    ce, sc, distillation = terms[form]
    margined = [with_margin(L, seen, unseen, gamma) for L in logits]
    sum_ce = sum(ce(L, labels, seen, unseen) for L in logits)
    sum_sc = sum(sc(L, seen, unseen) for L in margined)
    distilled = distillation(*margined, seen, unseen) if len(margined) == 2 else 0.0
    return sum_ce + lambda_cal * sum_sc + lambda_distill * distilled, sum_ce, sum_sc, distilled


def fused(logits, alphas, seen, unseen, gamma):
    return sum(
        alpha * with_margin(L, seen, unseen, gamma) for alpha, L in zip(alphas, logits, strict=True)
    )


def predictions(L, classes):
    """The first best of the classes, in their given order."""
    result = []
    for row in L:
        best = classes[0]
        for c in classes:
            if row[c] > row[best]:
                best = c
        result.append(best)
    return result


# --- scores


def class_accuracy(predicted, labels, classes):
    """Mean over the classes with images of the fraction of correct images; None without images."""
    accuracies = []
    for c in classes:
        hits = [p == y for p, y in zip(predicted, labels, strict=True) if y == c]
        if hits:
            accuracies.append(sum(hits) / len(hits))
    return sum(accuracies) / len(accuracies) if accuracies else None


def scores(L, labels, seen, unseen):
    """(T1, U, S, H) of fused logits; None where no image tells."""
    among_all = predictions(L, [*seen, *unseen])
    t1 = class_accuracy(predictions(L, list(unseen)), labels, unseen)
    u, s = class_accuracy(among_all, labels, unseen), class_accuracy(among_all, labels, seen)
    if u is None or s is None:
        return t1, u, s, None
    return t1, u, s, 0.0 if u + s == 0 else 2 * u * s / (u + s)
